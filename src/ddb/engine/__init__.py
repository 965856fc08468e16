"""Runs stages over a run folder: resuming, staleness, failures and interrupts. Knows no images and no models."""
