"""bench.html: the tables and plots of a bench as one self-contained page in the report's style."""

from __future__ import annotations

import base64
import hashlib
import math
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ddb.bench.options import DDB
from ddb.bench.show import charts, paper
from ddb.bench.show import tables as texts
from ddb.bench.show.charts import Axis, Point
from ddb.bench.show.intervals import Estimate
from ddb.bench.show.results import ArmScore, MethodScore, Results
from ddb.bench.studies.arms import COUNTS, INVERSION, PRUNING


def page(results: Results) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("ddb.bench.show", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("ddb.report").joinpath("style.css").read_text("utf-8")
    style += resources.files("ddb.bench.show").joinpath("bench.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return environment.get_template("bench.html").render(
        **_facts(results),
        results=results,
        texts=texts,
        charts=charts,
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
    )


def _facts(results: Results) -> dict[str, Any]:
    tables = {table.key: table for table in texts.tables(results)}
    return {
        "title": title(results),
        "about": _about(results),
        "warnings": [*_warnings(results), *results.notes],
        "tables": tables,
        "ordered": sorted(results.methods, key=lambda method: -method.worst.value),
        "kind_of": kind_of,
        "groups": results.methods[0].groups if results.methods else [],
        "scatter": _scatter(results),
        "ends": _ends(results.methods),
        "budget": _budget(results) if results.methods else None,
        "studies": {
            key: _study(results, results.studies[key]) for key in (PRUNING, INVERSION, COUNTS) if key in results.studies
        },
        "settings": _settings(results),
        "source": paper.facts()["source"] if results.data else "",
    }


def title(results: Results) -> str:
    """What the bench found, in one line; only what the figures say."""
    ours = next((method for method in results.methods if method.name == DDB), None)
    rivals = [m for m in results.methods if m.name not in (DDB, "erm") and not m.labels.train_groups]
    kind = "Worst-group" if results.grouped else "Worst-class"
    if ours is None or not rivals:
        names = ", ".join(method.title for method in results.methods)
        return f"{kind} accuracy: {names}" if names else f"ddb on {results.name}, studied"
    other = texts.best(rivals)
    return (
        f"{kind} accuracy: ddb {texts.percent(ours.worst.value)}%, best other without training groups "
        f"({other.title}) {texts.percent(other.worst.value)}%"
    )


def kind_of(method: MethodScore) -> str:
    """CSS class: ddb, a method that trains with groups, or another."""
    if method.name == DDB:
        return "after"
    return "told" if method.labels.train_groups or method.labels.val_groups == "train" else "before"


def _about(results: Results) -> str:
    rule = {
        "worst_group": "the worst group of the validation images",
        "worst_class": "the worst class of the validation images (no group labels)",
        "counterfactual": "classes and held-out counterfactuals (no group labels)",
    }[results.select]
    search = {
        "first": "Hyperparameters were searched with the first seed, the same number of settings for every method, and "
        "kept for the others.",
        "every": "Hyperparameters were searched with every seed, the same number of settings for every method.",
        "off": "There was no search: every method ran with the first of its settings.",
    }[results.search]
    seeds = (
        f"Seed {results.seeds[0]}." if len(results.seeds) == 1 else f"Seeds {results.seeds[0]} to {results.seeds[-1]}."
    )
    images, backbone, generator = (results.about[name] for name in ("images", "backbone", "generator"))
    facts = f"Images: {images}. Backbone: {backbone}. Generator: {generator}. {seeds}"
    chosen = f"Epochs and settings were chosen by {rule}. {search}"
    if not results.methods:
        chosen = f"Epochs were chosen by {rule}."
    studied = " Studies of ddb use the preset's settings, without search." if results.studies else ""
    return f"{facts} {chosen}{studied}"


def _warnings(results: Results) -> list[str]:
    found = []
    if len(results.seeds) == 1:
        found.append("One seed only: there is no interval over seeds, so differences between methods may be chance.")
    found += [f"Left out: {reason}" for reason in results.left_out.values()]
    return found


def _scatter(results: Results) -> Markup | None:
    if not results.methods:
        return None
    means = [method.adjusted or method.mean for method in results.methods]
    points = [
        Point(method.title, mean, method.worst, kind_of(method))
        for method, mean in zip(results.methods, means, strict=True)
    ]
    label = "; ".join(f"{p.label}: mean {texts.percent(p.x.value)}%, worst {texts.percent(p.y.value)}%" for p in points)
    up = charts.accuracy_axis([method.worst for method in results.methods])
    return charts.plot(points, charts.accuracy_axis(means), up, label)


def _ends(methods: list[MethodScore]) -> tuple[float, float]:
    """An axis that holds 0 and every difference with its interval, in whole steps of 5 points."""
    known = [m.difference for m in methods if m.difference is not None]
    values = [end for d in known for end in (d.value, d.low, d.high) if end is not None]
    low, high = min([0.0, *values]), max([0.0, *values])
    return max(-1.0, 0.05 * min(-1, math.floor(low / 0.05))), min(1.0, 0.05 * max(1, math.ceil(high / 0.05)))


def _budget(results: Results) -> Markup:
    """Worst-group accuracy against the number of group labels seen; budgets stand at equal distances."""
    steps = sorted({method.labels.count for method in results.methods})
    place = {count: number for number, count in enumerate(steps)}
    shared: dict[int, int] = {}
    points = []
    for method in sorted(results.methods, key=lambda m: -m.worst.value):
        number = shared.get(method.labels.count, 0)
        shared[method.labels.count] = number + 1
        x = Estimate(place[method.labels.count] + 0.11 * (number % 5))
        points.append(Point(method.title, x, method.worst, kind_of(method)))
    ticks = [(float(place[count]), f"{count:,} labels") for count in steps]
    ticks = [(ticks[0][0] - 0.3, ""), *ticks, (ticks[-1][0] + 0.9, "")]
    label = "; ".join(f"{p.label}: {texts.percent(p.y.value)}%" for p in points)
    return charts.plot(points, Axis(ticks), charts.accuracy_axis([p.y for p in points]), label)


def _study(results: Results, arms: list[ArmScore]) -> Markup:
    """Worst-group accuracy of every arm, in order."""
    words = {"none": "no pruning", "psi": "ψ alone", "rho": "ρ alone", "both": "both heads"}
    points = [Point(arm.name, Estimate(float(n)), arm.worst, "after") for n, arm in enumerate(arms)]
    ticks = [(float(n), words.get(arm.name, arm.name)) for n, arm in enumerate(arms)]
    ticks = [(-0.35, ""), *ticks, (len(arms) - 0.65, "")]
    label = "; ".join(f"{words.get(arm.name, arm.name)}: {texts.percent(arm.worst.value)}%" for arm in arms)
    joined = arms[0].name != "none"
    ends = [end for arm in arms for end in (arm.worst.low, arm.worst.value, arm.worst.high) if end is not None]
    up = charts.accuracy_axis([Estimate(min(1.0, max(0.0, end))) for end in ends])
    return charts.plot(points, Axis(ticks), up, label, 240, joined=joined, named=False)


def _settings(results: Results) -> list[tuple[str, str]]:
    """The chosen setting of every method, in words; what differs between seeds is listed."""
    found = []
    for method in results.methods:
        said = []
        for setting in method.settings:
            said.append(", ".join(f"{name} {value}" for name, value in setting.items()) or "defaults")
        found.append((method.title, "; ".join(dict.fromkeys(said))))
    return found
