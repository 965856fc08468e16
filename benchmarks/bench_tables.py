"""The tables of several benches as Markdown, and into the places of a document that are marked for them.

    python benchmarks/bench_tables.py runs/bench-waterbirds runs/bench-metashift runs/bench-celeba \\
        --into docs/benchmarks.md

Each is a folder that `ddb bench` has finished, or the results.json of one. The first table holds the methods of all of
them side by side; the others follow one by one, those that it has. A place is what stands between
`<!-- bench: NAME -->` and `<!-- /bench -->`, with NAME main, pruning, inversion, counts or labels; --places fills those
alone. Without --into everything is printed.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from ddb.bench.show import tables as bench
from ddb.bench.show.intervals import MeanWithInterval
from ddb.bench.show.results import MethodScore, Results
from ddb.bench.show.tables import NONE, Table, difference, group_labels, interval, percent
from ddb.bench.studies.arms import HEADS, PRUNING


def main_table(worlds: Sequence[Results]) -> Table:
    """All methods; for each world worst-group accuracy, train-weighted mean, ddb's lead paired by seed, and the paper's
    figure for the full-size data set."""
    columns = ["Method", "Groups"]
    for world in worlds:
        columns += [f"{world.data}: worst group", "adjusted mean", "ddb − method", "paper"]
    by_name = [{method.name: method for method in world.methods} for world in worlds]
    names = list(dict.fromkeys(name for methods in by_name for name in methods))
    rows = []
    for name in names:
        known = next(methods[name] for methods in by_name if name in methods)
        rows.append((known.title, group_labels(known.labels), *(c for m in by_name for c in _cells(m.get(name)))))
    return Table("main", "Methods", tuple(columns), rows, [_lead(world) for world in worlds])


def _cells(method: MethodScore | None) -> tuple[str, ...]:
    if method is None:
        return (NONE,) * 4
    return interval(method.worst), interval(method.adjusted), difference(method.difference), percent(method.paper)


def _lead(world: Results) -> str:
    """How ddb stands to ERM and to the best method that sees no group label of a training image."""
    text = f"{world.name}, seed{'s' * (len(world.seeds) > 1)} {', '.join(map(str, world.seeds))}"
    leads = [
        f"ddb − {method.title} {difference(method.difference)}"
        for method in world.methods
        if method.name == "erm" and method.difference
    ]
    if rivals := [method for method in world.methods if method.difference and not method.labels.train_groups]:
        best = bench.best(rivals)
        leads.append(f"ddb − best without training group labels ({best.title}) {difference(best.difference)}")
    return f"{text}: {'; '.join(leads) or 'no difference to show'}."


def pruning_means(worlds: Sequence[Results]) -> Table:
    """Worst-group accuracy with none, either head and both: each world, and the mean of the worlds."""
    arms = [{arm.name: arm.worst for arm in world.studies[PRUNING]} for world in worlds]
    rows = [(world.name, *(interval(own[head]) for head in HEADS)) for world, own in zip(worlds, arms, strict=True)]
    means = [statistics.fmean(own[head].value for own in arms) for head in HEADS]
    rows.append(("mean", *(interval(MeanWithInterval(value)) for value in means)))
    return Table("means", "Worst-group accuracy", ("Data set", "no head", "ψ alone", "ρ alone", "both"), rows, [])


def markdown(table: Table, title: str = "") -> str:
    """A table with its notes below it."""
    rule = "|".join(["---", *["---:"] * (len(table.columns) - 1)])
    rows = [f"| {' | '.join(row)} |" for row in table.rows]
    lines = [f"**{title}**", ""] if title else []
    lines += [f"| {' | '.join(table.columns)} |", f"|{rule}|", *rows, "", *(f"{note}  " for note in table.notes)]
    return "\n".join(lines).strip() + "\n"


def places(worlds: Sequence[Results]) -> dict[str, str]:
    """Name of a place (the table's key) -> its text; a place without figures is left out."""
    texts: dict[str, list[str]] = {}
    if having := [world for world in worlds if world.methods]:
        texts["main"] = [markdown(main_table(having))]
    for world in worlds:
        for table in bench.tables(world):
            if table.key != "main":
                texts.setdefault(table.key, []).append(markdown(table, world.name))
    if len(studied := [world for world in worlds if PRUNING in world.studies]) > 1:
        texts[PRUNING].append(markdown(pruning_means(studied), "All together"))
    return {place: "\n".join(parts) for place, parts in texts.items()}


def fill(document: str, texts: dict[str, str]) -> str:
    """The document with every marked place filled whose text is there."""

    def filled(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- bench: {name} -->\n{texts[name]}<!-- /bench -->" if name in texts else match[0]

    return re.sub(r"<!-- bench: (\w+) -->\n.*?<!-- /bench -->", filled, document, flags=re.DOTALL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="+", type=Path, help="bench folders or their results.json")
    parser.add_argument("--into", type=Path, help="a document with marked places")
    parser.add_argument("--places", type=lambda text: text.split(","), help="of them, those to fill: main,pruning,...")
    args = parser.parse_args()
    files = [path / "results.json" if path.is_dir() else path for path in args.benches]
    if missing := [str(path) for path in files if not path.is_file()]:
        parser.error(f"not there: {', '.join(missing)}; let `ddb bench` finish first")
    texts = places([TypeAdapter(Results).validate_json(path.read_bytes()) for path in files])
    if args.places:
        texts = {place: text for place, text in texts.items() if place in args.places}
    if args.into:
        args.into.write_text(fill(args.into.read_text("utf-8"), texts), "utf-8")
    else:
        print("\n".join(texts.values()))
