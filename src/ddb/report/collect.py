"""From a run folder's tables to the facts that the page shows, as plain records."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ddb.records import OK, SPLITS
from ddb.report.reading import Run


@dataclass(frozen=True)
class Estimate:
    """A share in [0, 1] with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupLine:
    """One group's accuracy on the test images; `n` of them."""

    name: str
    n: int
    before: Estimate | None
    after: Estimate | None
    worst_before: bool
    worst_after: bool


@dataclass(frozen=True)
class MetricLine:
    name: str
    meaning: str
    before: float | None
    after: float | None
    percent: bool
    lower_is_better: bool

    @property
    def change(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def worse(self) -> bool:
        return self.change is not None and (self.change > 0 if self.lower_is_better else self.change < 0)


@dataclass(frozen=True)
class Direction:
    """What became of the counterfactuals made from one class for another. Counts of candidates."""

    name: str
    from_label: int
    to_label: int
    painted: int
    waiting: int
    reasons: Counter[str]

    @property
    def kept(self) -> int:
        return self.reasons["kept"]


@dataclass(frozen=True)
class ClassLosses:
    """ERM losses (nats) of one class's training images; `majority` are those that counterfactuals were made from,
    `cut` the largest loss among them, `representatives` the losses of the images that the token was learned from."""

    name: str
    losses: list[float]
    majority: list[float]
    cut: float | None
    representatives: list[float]


METRICS = (
    ("worst_group_accuracy", "Worst-group accuracy", "accuracy in the group that does worst", False),
    ("mean_accuracy", "Mean accuracy", "all test images alike", False),
    ("adjusted_mean_accuracy", "Adjusted mean accuracy", "groups weighted as in the training data", False),
    ("worst_class_accuracy", "Worst-class accuracy", "accuracy in the class that does worst", False),
    ("auroc", "AUROC", "1 is a perfect ranking, 0.5 is chance", False),
    ("ece", "Calibration error (ECE)", "gap between confidence and accuracy; lower is better", True),
)
PAIRED = (
    ("in_distribution", "In-distribution accuracy", "test images drawn like the training data", False),
    ("flip_rate", "Flip rate", "share of kept pairs on which the answer follows the object", False),
    ("shortcut_reliance", "Shortcut reliance", "share of attribution outside the object; lower is better", True),
)


DECIMAL = ("auroc", "ece")
"""Figures that are written as decimals, not as percentages."""
POINTS = 400
"""Dots in a scatter chart."""


def groups(run: Run, metrics: dict[str, Any]) -> list[GroupLine]:
    before, after = _groups(metrics, "before"), _groups(metrics, "after")
    worst_before, worst_after = _worst(before), _worst(after)
    lines = []
    for key in [*before, *(key for key in after if key not in before)]:
        cell = before.get(key) or after[key]
        found = (_estimate(before.get(key)), _estimate(after.get(key)))
        lines.append(GroupLine(run.group_name(*key), cell["n"], *found, key == worst_before, key == worst_after))
    return lines


def metric_lines(metrics: dict[str, Any]) -> list[MetricLine]:
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
    """One record a (from, to) pair that has candidates, in the order of labels."""
    reasons = _reasons(run)
    cells: dict[tuple[int, int], list[str]] = {}
    for row in run.rows("inpaint", ("from_label", "to_label", "status")):
        if row["status"] == OK:
            cells.setdefault((row["from_label"], row["to_label"]), []).append(row["id"])
    found = []
    for (source, target), painted in sorted(cells.items()):
        verdicts = Counter(reasons[key] for key in painted if key in reasons)
        name = run.direction_name(source, target)
        found.append(Direction(name, source, target, len(painted), len(painted) - verdicts.total(), verdicts))
    return found


def losses(run: Run) -> list[ClassLosses]:
    """Training losses per class, with the majority cut where segmentation has chosen its sources."""
    train = [
        r
        for r in run.rows("erm", ("id", "label", "split", "loss", "status"))
        if r["split"] == "train" and r["status"] == OK
    ]
    train = [row for row in train if row["loss"] is not None and math.isfinite(row["loss"])]
    sources = {row["id"] for row in run.rows("segment", ("id",))}
    shown = {key for row in run.rows("invert", ("representatives",)) for key in row["representatives"] or ()}
    found = []
    for label, group in groupby(sorted(train, key=lambda row: row["label"]), key=lambda row: row["label"]):
        mine = list(group)
        majority = [row["loss"] for row in mine if row["id"] in sources]
        representatives = [row["loss"] for row in mine if row["id"] in shown]
        cut = max(majority, default=None)
        found.append(ClassLosses(run.class_name(label), [r["loss"] for r in mine], majority, cut, representatives))
    return found


def scatters(run: Run) -> dict[str, list[tuple[float, float, str]]]:
    """Direction -> (psi, rho, verdict) of its scored candidates; of very many, every n-th."""
    scores = {row["id"]: row for row in run.rows("score", ("psi_from", "rho", "status")) if row["status"] == OK}
    reasons = _reasons(run)
    cells: dict[tuple[int, int], list[tuple[float, float, str]]] = {}
    for row in run.rows("inpaint", ("from_label", "to_label")):
        if score := scores.get(row["id"]):
            point = (score["psi_from"], score["rho"], reasons.get(row["id"], ""))
            cells.setdefault((row["from_label"], row["to_label"]), []).append(point)
    return {
        run.direction_name(*key): points[:: math.ceil(len(points) / POINTS)] for key, points in sorted(cells.items())
    }


def split_sizes(run: Run) -> dict[str, int]:
    """Split -> number of images, in the order train, val, test."""
    counts = Counter(row["split"] for row in run.samples.values())
    return {split: counts[split] for split in SPLITS if counts[split]}


def mask_counts(run: Run) -> dict[str, int]:
    """Status of segmentation -> number of source images."""
    return dict(Counter(row["status"] for row in run.rows("segment", ("status",))).most_common())


def _reasons(run: Run) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in run.rows("prune", ("reason", "status")) if row["status"] == OK}


def _groups(metrics: dict[str, Any], side: str) -> dict[tuple[Any, Any], dict[str, Any]]:
    cells = (metrics.get(side) or {}).get("groups") or []
    return {(cell["label"], cell.get("attribute")): cell for cell in cells if cell.get("n")}


def _worst(cells: dict[tuple[Any, Any], dict[str, Any]]) -> tuple[Any, Any] | None:
    return min(cells, key=lambda key: float(cells[key]["accuracy"]), default=None)


def _estimate(cell: dict[str, Any] | None) -> Estimate | None:
    return None if cell is None else Estimate(float(cell["accuracy"]), float(cell["low"]), float(cell["high"]))


def _accuracy(value: Any) -> float | None:
    """A figure that is stored bare, or inside a block of metrics."""
    return _number(value.get("mean_accuracy", value.get("accuracy")) if isinstance(value, dict) else value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
