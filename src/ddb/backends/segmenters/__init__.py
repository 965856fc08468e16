"""Segmenters: backends that find the causal part of an image."""
