"""Generators: what paints counterfactuals."""
