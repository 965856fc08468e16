"""`ddb data inspect`: what a folder holds; and the lines that a run says of its data."""
