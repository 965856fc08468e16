"""Studies of ddb alone.

arms.py       tables 2 and 3 and the number of counterfactuals: an arm each
counts.py     a pool of counterfactuals for all numbers
oracle.py     the quality of counterfactuals by an oracle classifier
"""
