"""Prints the tables in a terminal."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table as Grid

from ddb.bench.show.results import Results
from ddb.bench.show.tables import Table, tables

WIDTH = 132
"""Columns used where the output is not a terminal."""


def show(results: Results, stream: TextIO) -> None:
    """Print every table with its notes, and what was left out."""
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else WIDTH)
    for table in tables(results):
        console.print(_grid(table))
        for note in table.notes:
            console.print(note, style="dim", markup=False)
        console.print()
    for reason in results.left_out.values():
        console.print(f"Left out: {reason}", markup=False)
    for note in results.notes:
        console.print(note, markup=False)


def _grid(table: Table) -> Grid:
    grid = Grid(title=table.title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(table.columns):
        grid.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for row in table.rows:
        grid.add_row(*(cell.replace("[", r"\[") for cell in row))
    return grid
