"""Readers of data set layouts, one file per layout; load.py chooses the reader and makes the `Dataset`."""
