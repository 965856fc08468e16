"""Records to tables and pictures.

results.py    records -> figures; intervals.py: over seeds, within a run, and of differences; paper.py: the paper's own
tables.py     figures -> tables; terminal.py, latex.py, page.py, charts.py show them; output.py writes all of it
"""
