"""Trained classifiers in the forms of ddb, timm and transformers: found, described, and matched with classes."""
