"""audit.html: figures and pictures of an audit as one page that is complete in itself, in the report's style."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ddb.auditing.bars import NAMED, Verdict
from ddb.auditing.figures import Figure
from ddb.auditing.measures.calibration import Calibration
from ddb.auditing.measures.pairs import Direction, Pairs
from ddb.auditing.measures.parts import Outcome
from ddb.auditing.record import Audit
from ddb.auditing.show import words
from ddb.auditing.show.examples import Examples
from ddb.report.charts import axes, plots, rows
from ddb.report.charts.interval import Interval
from ddb.report.charts.svg import dot, line
from ddb.report.html import html_page, percent

STYLES = (("ddb.auditing.show", "audit.css"),)


def page(found: Audit, shown: Examples, decided: Sequence[Verdict]) -> str:
    """The page as text."""
    facts = {
        "audit": found,
        "examples": shown,
        "named": NAMED,
        "verdicts": decided,
        "has_bars": any(one.bar is not None for one in decided),
        "headline": words.headline(found),
        "about": words.about(found),
        "warnings": words.warnings(found, list(decided)),
        "outcomes": _outcomes(found),
        "directions": _directions(found),
        "charts": {"bar": bar, "percent_axis": rows.percent_axis, "reliability": _reliability},
    }
    return html_page("ddb.auditing.show", "audit.html", facts, styles=STYLES)


def bar(figure: Figure, name: str, kind: str = "after") -> Markup:
    """A figure as a bar with its interval, on an axis from 0 to 100%."""
    label = f"{name}: {percent(figure.value)}, {percent(figure.low)} to {percent(figure.high)}"
    return rows.bar(Interval(figure.value, figure.low, figure.high), kind, label)


def _outcomes(found: Audit) -> list[tuple[str, str, list[tuple[str, Figure]]]]:
    """(heading, what was done, [(what is predicted, share)]) of each way to take the parts apart."""
    if found.parts is None:
        return []
    phrase = found.about.phrase
    return [
        (
            "Surroundings exchanged",
            f"the {phrase} stays, byte for byte; the surroundings are those of a training image of another class",
            _three(found.parts.surroundings_exchanged, phrase),
        ),
        (
            "Object exchanged",
            f"the surroundings stay; the {phrase} is one of another class, copied into the box",
            _three(found.parts.object_exchanged, phrase),
        ),
        (
            "Object erased",
            f"the box of the {phrase} is filled from the surroundings; mean over the predicted classes, "
            f"{percent(found.parts.erased_chance)} for a classifier that sees the {phrase} alone",
            [("the same as before", found.parts.object_erased)],
        ),
    ]


def _directions(found: Audit) -> list[tuple[str, Pairs | Direction]]:
    """The pairs of the run: all of them, then by direction."""
    if found.pairs is None:
        return []
    return [("All directions", found.pairs), *((one.name, one) for one in found.pairs.directions)]


def _three(outcome: Outcome, phrase: str) -> list[tuple[str, Figure]]:
    return [
        (f"the {phrase}’s class", outcome.object_class),
        ("the class of the surroundings", outcome.surroundings_class),
        ("the same as before", outcome.unchanged),
    ]


def _reliability(found: Calibration) -> Markup:
    """Accuracy (up) against confidence (across), a dot a bin, and the diagonal on which both are equal."""
    grid = plots.Grid(axes.PERCENT, axes.PERCENT, 240)
    marks, said = [line("cut", *grid.at(0, 0), *grid.at(1, 1))], []
    for one in found.bins:
        x, y = grid.at(one.confidence, one.accuracy.value)
        marks.append(line("after whisker", x, grid.height(one.accuracy.low), x, grid.height(one.accuracy.high)))
        marks.append(dot("after dot", x, y, 5))
        words = f"confidence {percent(one.confidence)}, accuracy {percent(one.accuracy.value)}"
        said.append(f"{words}, {one.accuracy.n:,} images")
    return grid.drawn(marks, "; ".join(said))
