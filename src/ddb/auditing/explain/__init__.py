"""`ddb explain`: what a classifier leans on in single images. Read `run.py` first."""
