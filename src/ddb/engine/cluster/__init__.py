"""Stages computed by workers in other processes and on other machines (Ray). `scheduling.py` knows nothing of Ray."""
