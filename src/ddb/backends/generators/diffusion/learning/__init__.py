"""Learning a token: inversion.py (READ FIRST), denoising.py (the loss), views.py (encoded images)."""
