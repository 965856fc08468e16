"""Segmenters: what finds the causal part of an image."""
