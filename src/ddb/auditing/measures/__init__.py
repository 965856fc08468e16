"""What is measured, a file a measure. Nothing here reads files or opens models."""
