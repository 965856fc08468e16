"""Tables of a run folder -> the figures that the page shows, as plain records."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from ddb.records import OK, SPLITS
from ddb.report.charts.interval import Interval
from ddb.report.reading import Run


@dataclass(frozen=True)
class GroupLine:
    """One group's accuracy on its `n` test images, before and after; `worst_*`: no group has a lower one. `unseen`: no
    training image is of this group."""

    name: str
    n: int
    before: Interval | None
    after: Interval | None
    worst_before: bool
    worst_after: bool
    unseen: bool = False


@dataclass(frozen=True)
class MetricLine:
    """One figure of metrics.json with what it means; `percent`: it is a share that is shown in percent."""

    name: str
    meaning: str
    before: float | None
    after: float | None
    percent: bool
    lower_is_better: bool

    @property
    def change(self) -> float | None:
        """After minus before; None where one of them is unknown."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def worse(self) -> bool:
        """Whether the figure became worse."""
        return self.change is not None and (self.change > 0 if self.lower_is_better else self.change < 0)


@dataclass(frozen=True)
class Direction:
    """Counts of the counterfactuals painted from one class to another: all of them, those without a verdict, and those
    with each reason of a verdict."""

    name: str
    from_label: int
    to_label: int
    painted: int
    undecided: int
    reasons: Counter[str]

    @property
    def kept(self) -> int:
        """Number of kept counterfactuals."""
        return self.reasons["kept"]


@dataclass(frozen=True)
class ClassLosses:
    """Losses (nats) of one class's training images under the plain classifier. `majority`: of the sources of
    counterfactuals, `cut` the largest of these (None without sources); `representatives`: of the images that the token
    was learned from."""

    name: str
    losses: list[float]
    majority: list[float]
    cut: float | None
    representatives: list[float]


METRICS = (
    ("worst_group_accuracy", "Worst-group accuracy", "lowest accuracy of any group", False),
    ("mean_accuracy", "Mean accuracy", "all test images with equal weight", False),
    (
        "adjusted_mean_accuracy",
        "Adjusted mean accuracy",
        "groups weighted by their share of the training images; those without any do not count",
        False,
    ),
    ("worst_class_accuracy", "Worst-class accuracy", "lowest accuracy of any class", False),
    ("auroc", "AUROC", "1 is a perfect ranking, 0.5 is chance", False),
    ("ece", "Calibration error (ECE)", "mean gap between confidence and accuracy; lower is better", True),
)
PAIRED = (
    ("in_distribution", "In-distribution accuracy", "test images distributed as the training images", False),
    (
        "flip_rate",
        "Flip rate",
        "share of kept pairs (source, counterfactual) in which both are classified correctly",
        False,
    ),
    ("shortcut_reliance", "Shortcut reliance", "share of attribution outside the object; lower is better", True),
)


OF_A_CLASSIFIER = tuple(name for _, name, _, _ in METRICS)
"""Names of the figures that need the test images alone."""
DECIMAL = ("auroc", "ece")
"""Figures that are shown as decimals, not in percent."""
POINTS = 1000
"""Dots of a scatter chart, at most."""


def groups(run: Run, metrics: dict[str, Any]) -> list[GroupLine]:
    """One line per group with test images, in the order of metrics.json."""
    before, after = _groups(metrics, "before"), _groups(metrics, "after")
    worst_before, worst_after = _worst(before), _worst(after)
    lines = []
    for key in [*before, *(key for key in after if key not in before)]:
        cell = before.get(key) or after[key]
        found = (_interval(before.get(key)), _interval(after.get(key)))
        worst = (key == worst_before, key == worst_after)
        lines.append(GroupLine(run.group_name(*key), cell["n"], *found, *worst, cell.get("train") == 0))
    return lines


def metric_lines(metrics: dict[str, Any]) -> list[MetricLine]:
    """One line per figure that metrics.json holds before or after."""
    before, after = metrics.get("before") or {}, metrics.get("after") or {}
    lines = []
    for key, name, meaning, low in METRICS:
        values = (_number(before.get(key)), _number(after.get(key)))
        lines.append(MetricLine(name, meaning, *values, key not in DECIMAL, low))
    for key, name, meaning, low in PAIRED:
        pair = metrics.get(key) or {}
        lines.append(MetricLine(name, meaning, _accuracy(pair.get("before")), _accuracy(pair.get("after")), True, low))
    return [line for line in lines if line.before is not None or line.after is not None]


def directions(run: Run) -> list[Direction]:
    """One record per (from, to) pair that has counterfactuals, in the order of labels."""
    painted: Counter[tuple[int, int]] = Counter()
    reasons: dict[tuple[int, int], Counter[str]] = {}
    for name, source, target, status in run.rows("inpaint", ("id", "from_label", "to_label", "status")):
        if status == OK:
            painted[source, target] += 1
            if name in run.verdicts:
                reasons.setdefault((source, target), Counter())[run.verdicts[name]] += 1
    found = []
    for (source, target), count in sorted(painted.items()):
        own = reasons.get((source, target), Counter())
        name = run.direction_name(source, target)
        found.append(Direction(name, source, target, count, count - own.total(), own))
    return found


def losses(run: Run) -> list[ClassLosses]:
    """Training losses per class; the majority where stage segment is finished, representatives where invert is."""
    sources = {name for (name,) in run.rows("segment", ("id",))}
    shown = {name for (ids,) in run.rows("invert", ("representatives",)) for name in ids or ()}
    classes: dict[int, ClassLosses] = {}
    for name, label, split, loss, status in run.rows("erm", ("id", "label", "split", "loss", "status")):
        if split != "train" or status != OK or loss is None or not math.isfinite(loss):
            continue
        own = classes.setdefault(label, ClassLosses(run.class_name(label), [], [], None, []))
        own.losses.append(loss)
        if name in sources:
            own.majority.append(loss)
        if name in shown:
            own.representatives.append(loss)
    return [replace(own, cut=max(own.majority, default=None)) for _, own in sorted(classes.items())]


@dataclass(frozen=True)
class Scored:
    """A counterfactual in a scatter chart: its id, its scores, and the reason of its verdict."""

    id: str
    psi: float
    rho: float
    reason: str


def scatters(run: Run) -> dict[str, list[Scored]]:
    """Direction -> its scored counterfactuals; of many, every n-th."""
    columns = ("id", "psi_from", "rho", "status")
    scores = {name: (psi, rho) for name, psi, rho, status in run.rows("score", columns) if status == OK}
    cells: dict[tuple[int, int], list[Scored]] = {}
    for name, source, target in run.rows("inpaint", ("id", "from_label", "to_label")):
        if name in scores and all(map(math.isfinite, scores[name])):
            cells.setdefault((source, target), []).append(Scored(name, *scores[name], run.verdicts.get(name, "")))
    return {
        run.direction_name(*key): points[:: math.ceil(len(points) / POINTS)] for key, points in sorted(cells.items())
    }


def split_sizes(run: Run) -> dict[str, int]:
    """Split -> number of images, in the order train, val, test."""
    counts = {row["values"]: row["counts"] for row in pc.value_counts(run.samples["split"]).to_pylist()}
    return {split: counts[split] for split in SPLITS if counts.get(split)}


def mask_counts(run: Run) -> dict[str, int]:
    """Status of segmentation -> number of source images, most frequent first."""
    return dict(Counter(status for (status,) in run.rows("segment", ("status",))).most_common())


def _groups(metrics: dict[str, Any], side: str) -> dict[tuple[Any, Any], dict[str, Any]]:
    cells = (metrics.get(side) or {}).get("groups") or []
    return {(cell["label"], cell.get("attribute")): cell for cell in cells if cell.get("n")}


def _worst(cells: dict[tuple[Any, Any], dict[str, Any]]) -> tuple[Any, Any] | None:
    return min(cells, key=lambda key: float(cells[key]["accuracy"]), default=None)


def _interval(cell: dict[str, Any] | None) -> Interval | None:
    return None if cell is None else Interval(float(cell["accuracy"]), float(cell["low"]), float(cell["high"]))


def _accuracy(value: Any) -> float | None:
    """A figure that is stored as a number, or as the accuracy in a block of metrics."""
    return _number(value.get("mean_accuracy", value.get("accuracy")) if isinstance(value, dict) else value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
