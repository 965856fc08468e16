"""Writes the files of a finished bench: results.json, results.csv, tables/*.tex, bench.html."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from pathlib import Path

from ddb.bench.show.intervals import MeanWithInterval
from ddb.bench.show.latex import latex
from ddb.bench.show.page import page
from ddb.bench.show.results import Results
from ddb.bench.show.tables import tables
from ddb.engine import files

COLUMNS = ("part", "name", "figure", "value", "low", "high", "interval", "seeds")


def write_all(results: Results, out: Path) -> None:
    """Write all of them into the folder `out`; those that exist are replaced."""
    (out / "tables").mkdir(exist_ok=True)
    files.write_json(out / "results.json", asdict(results))
    _write(out / "results.csv", csv_text(results))
    for table in tables(results):
        _write(out / "tables" / f"{table.key}.tex", latex(table))
    _write(out / "bench.html", page(results))


def csv_text(results: Results) -> str:
    """One line per figure: of methods (part "methods") and of the arms of studies (part: the study's name)."""
    lines: list[tuple[str, str, str, MeanWithInterval]] = []
    worst = "worst_group_accuracy" if results.grouped else "worst_class_accuracy"
    for method in results.methods:
        figures = {worst: method.worst, "mean_accuracy": method.mean, "adjusted_mean_accuracy": method.adjusted}
        figures |= {f"accuracy of {group.name}": group.accuracy for group in method.groups}
        figures |= {"ddb minus method": method.difference}
        lines += [("methods", method.name, name, value) for name, value in figures.items() if value is not None]
    for study, arms in results.studies.items():
        for arm in arms:
            lines += [(study, arm.name, worst, arm.worst), (study, arm.name, "mean_accuracy", arm.mean)]
            names = ("generated", "pruned_psi", "pruned_rho", "pruned", "kept", "oracle_before", "oracle_after")
            counted = {name: getattr(arm.total, name) for name in names}
            lines += [
                (study, arm.name, key, MeanWithInterval(n, seeds=len(results.seeds)))
                for key, n in counted.items()
                if n is not None
            ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for part, name, figure, mean in lines:
        ends = ["" if end is None else f"{end:.6f}" for end in (mean.low, mean.high)]
        writer.writerow([part, name, figure, f"{mean.value:.6f}", *ends, mean.kind, mean.seeds])
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    files.write_atomic(path, lambda file: file.write(text.encode()))
