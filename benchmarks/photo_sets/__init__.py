"""Biased data sets made from real photographs, for `benchmarks/photos.py`."""
