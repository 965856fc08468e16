"""bench.html: the tables and charts of a bench as one page that is complete in itself, in the report's style."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ddb.bench.options import DDB
from ddb.bench.show import paper
from ddb.bench.show import tables as texts
from ddb.bench.show.results import ArmScore, MethodScore, Results
from ddb.bench.studies.arms import COUNTS, INVERSION, PRUNING
from ddb.report.charts import rows
from ddb.report.charts.axes import Axis, accuracy_axis, enclosing, named_axis
from ddb.report.charts.interval import Interval
from ddb.report.charts.plots import Grid, Point, plot
from ddb.report.html import html_page

POINTS_STEP = 0.05
"""Step of the axis of differences: 5 percentage points."""
STUDIES = (
    (
        PRUNING,
        "Pruning",
        "The same counterfactuals without pruning, with each test alone and with both; the classifier is retrained on "
        "what is kept.",
    ),
    (
        INVERSION,
        "Images that a token is learned from",
        "Tokens are learned from more and more of the images with the highest loss; all later stages are run again.",
    ),
    (
        COUNTS,
        "Number of counterfactuals",
        "From none to four times the smaller class. All amounts are taken from one pool, so a larger amount contains "
        "the smaller ones.",
    ),
)
"""Studies in their order on the page: (key, heading, what was done)."""


def page(results: Results) -> str:
    """The page as text."""
    facts = {**_facts(results), "results": results, "texts": texts}
    return html_page("ddb.bench.show", "bench.html", facts, styles=(("ddb.bench.show", "bench.css"),))


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
        "bar": rows.bar,
        "difference": rows.difference,
        "worst_accuracy": "worst-group accuracy" if results.grouped else "worst-class accuracy",
        "lead_axis": _lead_axis(results.methods),
        "budget": _budget(results) if results.methods else None,
        "studies": [
            (key, heading, lead, _study(results.studies[key]))
            for key, heading, lead in STUDIES
            if key in results.studies and key in tables
        ],
        "settings": _settings(results),
        "source": paper.facts()["source"] if results.data else "",
    }


def title(results: Results) -> str:
    """The main result in one line."""
    ours = next((method for method in results.methods if method.name == DDB), None)
    rivals = [m for m in results.methods if m.name not in (DDB, "erm") and not m.labels.train_groups]
    kind = "Worst-group" if results.grouped else "Worst-class"
    if ours is None or not rivals:
        names = ", ".join(method.title for method in results.methods)
        return f"{kind} accuracy: {names}" if names else f"Studies of ddb on {results.name}"
    other = texts.best(rivals)
    return (
        f"{kind} accuracy: ddb {texts.percent(ours.worst.value)}%; best other method without training groups "
        f"({other.title}): {texts.percent(other.worst.value)}%"
    )


def kind_of(method: MethodScore) -> str:
    """CSS class of a method's marks: "after" for ddb, "told" for methods that train with groups, else "before"."""
    if method.name == DDB:
        return "after"
    return "told" if method.labels.train_groups or method.labels.val_groups == "train" else "before"


def _about(results: Results) -> str:
    rule = {
        "worst_group": "worst-group accuracy on the validation images",
        "worst_class": "worst-class accuracy on the validation images (no group labels)",
        "counterfactual": "accuracy on the classes of the validation images and on held-out counterfactuals (no group "
        "labels)",
    }[results.select]
    search = {
        "first": "Hyperparameters were searched with the first seed, with the same number of settings for every "
        "method; the other seeds use those chosen.",
        "every": "Hyperparameters were searched with every seed, with the same number of settings for every method.",
        "off": "Hyperparameters were not searched: every method ran with the first of its settings.",
    }[results.search]
    seeds = (
        f"Seed {results.seeds[0]}." if len(results.seeds) == 1 else f"Seeds {results.seeds[0]} to {results.seeds[-1]}."
    )
    images, backbone, generator = (results.about[name] for name in ("images", "backbone", "generator"))
    facts = f"Images: {images}. Backbone: {backbone}. Generator: {generator}. {seeds}"
    chosen = f"Epochs and settings were chosen by {rule}. {search}"
    if not results.methods:
        chosen = f"Epochs were chosen by {rule}."
    studied = " Studies of ddb use the settings of the preset, without search." if results.studies else ""
    return f"{facts} {chosen}{studied}"


def _warnings(results: Results) -> list[str]:
    found = []
    if len(results.seeds) == 1:
        found.append(
            "One seed only: there is no interval over seeds, so differences between methods may be due to chance."
        )
    found += [f"Left out: {reason}" for reason in results.left_out.values()]
    return found


def _scatter(results: Results) -> Markup | None:
    """Worst-group accuracy (up) against mean accuracy (across) of every method."""
    if not results.methods:
        return None
    means = [method.adjusted or method.mean for method in results.methods]
    points = [
        Point(method.title, mean, method.worst, kind_of(method))
        for method, mean in zip(results.methods, means, strict=True)
    ]
    label = "; ".join(f"{p.name}: mean {texts.percent(p.x.value)}%, worst {texts.percent(p.y.value)}%" for p in points)
    across, up = (accuracy_axis([interval.value for interval in side]) for side in (means, [p.y for p in points]))
    return plot(points, Grid(across, up, 420), label)


def _lead_axis(methods: list[MethodScore]) -> Axis:
    """An axis for ddb's lead over every method, with its interval."""
    leads = [method.difference for method in methods if method.difference is not None]
    low, high = enclosing([lead.ends or (lead.value, lead.value) for lead in leads], POINTS_STEP, 1.0)
    return Axis([(low, texts.points(low)), (high, texts.points(high))])


def _budget(results: Results) -> Markup:
    """Worst-group accuracy (up) against the number of group labels that a method used; the numbers have equal
    distances, and methods with the same number are drawn beside each other."""
    counts = sorted({method.labels.count for method in results.methods})
    drawn: dict[int, int] = {}
    points = []
    for method in sorted(results.methods, key=lambda m: -m.worst.value):
        count = method.labels.count
        x = counts.index(count) + 0.11 * (drawn.get(count, 0) % 5)
        drawn[count] = drawn.get(count, 0) + 1
        points.append(Point(method.title, Interval(x), method.worst, kind_of(method)))
    across = named_axis([f"{count:,} labels" for count in counts], 0.3, 0.9)
    label = "; ".join(f"{p.name}: {texts.percent(p.y.value)}%" for p in points)
    return plot(points, Grid(across, accuracy_axis([p.y.value for p in points]), 420), label)


def _study(arms: list[ArmScore]) -> Markup:
    """Worst-group accuracy of every arm of a study, in order."""
    words = {"none": "no pruning", "psi": "ψ alone", "rho": "ρ alone", "both": "both tests"}
    names = [words.get(arm.name, arm.name) for arm in arms]
    points = [
        Point(name, Interval(float(n)), arm.worst, "after")
        for n, (name, arm) in enumerate(zip(names, arms, strict=True))
    ]
    label = "; ".join(f"{point.name}: {texts.percent(point.y.value)}%" for point in points)
    ends = [end for arm in arms for end in (arm.worst.low, arm.worst.value, arm.worst.high) if end is not None]
    up = accuracy_axis([min(1.0, max(0.0, end)) for end in ends])
    return plot(points, Grid(named_axis(names), up, 240), label, joined=arms[0].name != "none", named=False)


def _settings(results: Results) -> list[tuple[str, str]]:
    """(method, its chosen setting in words); different settings of different seeds are listed."""
    found = []
    for method in results.methods:
        said = []
        for setting in method.settings:
            said.append(", ".join(f"{name} {value}" for name, value in setting.items()) or "defaults")
        found.append((method.title, "; ".join(dict.fromkeys(said))))
    return found
