"""Charts of the report and of the bench page, as inline SVG.

interval.py   a value with its 95% interval
svg.py        lines, rectangles, dots and texts; a chart with its label for screen readers
axes.py       scales with ticks: percent, accuracies, round numbers, decades, named positions
rows.py       charts of one line, for a cell of a table
plots.py      charts with two axes: histogram, scatter, named points
key.py        what colours and shapes mean

Horizontal positions are percentages of the chart's width and vertical ones are pixels, so a chart fits any width
without scaling its text. Colours are CSS classes (charts.css), so charts follow the light and the dark theme.
"""
