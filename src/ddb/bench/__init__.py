"""`ddb bench`: ddb and its rivals on the same data, backbone, selection rule and seeds, as tables with intervals.

run.py        READ FIRST: seeds -> fits -> choice -> test figures -> tables
options.py    what was asked for, and what is refused before anything is computed
folder.py     the bench folder: records that are whole or absent
trial.py      one seed: the run folder that all share, and what a method may see of it
methods.py    ddb and the rivals under one name, with the settings that a search tries
fits.py       one fit of one method; choice.py: which setting is taken. Neither sees a test image
scores.py     test figures: the only file that reads the test split
variants.py   runs of ddb with other settings that take finished stages over
studies.py    tables 2 and 3 and the number of counterfactuals; counts.py: a pool of them; judge.py: their quality
intervals.py  over seeds, within a run, and of differences; paper.py: the paper's own figures
results.py    records -> figures; tables.py -> tables; terminal.py, latex.py, page.py, charts.py show them
"""
