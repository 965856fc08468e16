"""The stages of the method, one file each; `pipeline.py` puts them in order."""
