"""Fits of one seed and the choice among them. No file here reads a test image or a test label.

trial.py      one seed: the run folder that all methods share, and what a method may see of it
methods.py    ddb and the rivals under one name, with the settings that a search tries
search.py     one fit of one method, and the search over its settings; choice.py: which setting is taken
variants.py   runs of ddb with other settings that share finished stages
"""
