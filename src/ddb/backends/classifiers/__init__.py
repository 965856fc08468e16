"""Classifiers: the backbone that ERM trains, saves and loads."""
