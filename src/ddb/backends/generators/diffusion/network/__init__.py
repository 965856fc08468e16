"""The frozen model: loading.py (folder -> model.py; files.py), unet.py (one pass), upsampling.py, noising.py."""
