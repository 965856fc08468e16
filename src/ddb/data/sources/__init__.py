"""Data set layouts to a `Dataset`: load.py chooses the reader, a file each for the layouts."""
