"""The pocket world: images that ddb draws itself, and small weights that were trained on them."""
