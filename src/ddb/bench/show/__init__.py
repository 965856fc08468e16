"""Records -> tables, charts and files.

results.py    records -> figures; intervals.py: means with 95% intervals; paper.py: the figures that the paper reports
tables.py     figures -> tables of text; terminal.py, latex.py and page.py show them; output.py writes all files
"""
