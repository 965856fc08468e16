"""Generators: backends that paint counterfactuals."""
