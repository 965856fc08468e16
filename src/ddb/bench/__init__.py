"""`ddb bench`: ddb and its rivals on the same data, backbone, selection rule and seeds, as tables with intervals.

run.py        READ FIRST: seeds -> fits -> choice -> test figures -> tables
options.py    what was asked for, and what is refused before anything is computed
folder.py     the bench folder: records that are whole or absent
fits/         fits and the choice among them: no test image
scores.py     test figures: the only file that reads the test split
studies/      tables 2 and 3 and the number of counterfactuals
show/         records -> tables, charts and pages
"""
