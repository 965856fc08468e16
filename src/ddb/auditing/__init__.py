"""Audits of classifiers: nothing is trained. Read `run.py` first."""
