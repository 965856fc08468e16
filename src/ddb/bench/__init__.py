"""`ddb bench`: compares ddb with its rivals on the same data, backbone, selection rule and seeds.

run.py        READ FIRST: seeds -> fits -> choice -> test figures -> tables
options.py    the options, checked before anything is computed
folder.py     the bench folder and its records
parts.py      the parts of the work; team/: several processes for them
fits/         fits and the choice among them, without test images
scores.py     test figures: the only module that reads test images
studies/      tables 2 and 3 and the number of counterfactuals
show/         records -> tables, charts, files
"""
