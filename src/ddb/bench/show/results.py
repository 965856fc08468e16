"""Records of all seeds -> the figures that tables and charts show. It reads no file and runs no model."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ddb.bench.fits.methods import Method
from ddb.bench.folder import Record
from ddb.bench.options import DDB
from ddb.bench.show import paper
from ddb.bench.show.intervals import MeanWithInterval, of_share, over_seeds, paired


@dataclass(frozen=True)
class Labels:
    """The labels that a method used. `val_groups`: "" | "select" | "train"; `images`: generated images; `count`: number
    of images whose group label it used."""

    train_groups: bool
    val_groups: str
    images: bool
    count: int


@dataclass(frozen=True)
class GroupScore:
    """Accuracy in one group of `n` test images."""

    name: str
    n: int
    accuracy: MeanWithInterval


@dataclass(frozen=True)
class MethodScore:
    """`worst`: of groups, or of classes where groups are unknown; `adjusted`: mean weighted by the training groups;
    `difference`: ddb minus this method, paired by seed; `settings`: the chosen setting of every seed."""

    name: str
    title: str
    labels: Labels
    worst: MeanWithInterval
    mean: MeanWithInterval
    adjusted: MeanWithInterval | None
    groups: list[GroupScore]
    difference: MeanWithInterval | None
    settings: list[Mapping[str, Any]]
    paper: float | None


@dataclass(frozen=True)
class DirectionScore:
    """Counts of counterfactuals as means over seeds; `oracle_*`: share that the oracle classifies as the painted class,
    before and after pruning (None without an oracle or without images)."""

    name: str
    generated: float
    pruned_psi: float
    pruned_rho: float
    pruned: float
    kept: float
    oracle_before: float | None
    oracle_after: float | None


@dataclass(frozen=True)
class ArmScore:
    """One setting of a study; `total` is the sum of its directions; `paper*`: what the paper reports for it."""

    name: str
    total: DirectionScore
    directions: list[DirectionScore]
    worst: MeanWithInterval
    mean: MeanWithInterval
    paper: float | None = None
    paper_pruned: int | None = None


@dataclass(frozen=True)
class Results:
    """Everything that is shown. `grouped`: test groups are known, so "worst" means the worst group, else the worst
    class; `oracle`: the oracle's accuracy on unseen renders, None without an oracle."""

    name: str
    data: str
    seeds: list[int]
    select: str
    search: str
    grouped: bool
    tables: list[str]
    methods: list[MethodScore]
    studies: dict[str, list[ArmScore]]
    left_out: dict[str, str]
    notes: list[str]
    oracle: float | None = None
    about: dict[str, str] = field(default_factory=dict)


def labels_of(method: Method, select: str, train: int, val: int) -> Labels:
    """`train`, `val`: number of images of the splits."""
    trains_on_val = "val_groups_train" in method.uses
    selects = select == "worst_group" and "val_groups" in method.uses
    told = "train_groups" in method.uses
    val_groups = "train" if trains_on_val else "select" if selects else ""
    images = method.needs_images or select == "counterfactual"
    return Labels(told, val_groups, images, train * told + val * bool(val_groups))


def method_scores(
    methods: Sequence[Method], labels: Mapping[str, Labels], scores: Mapping[str, Sequence[Record]], data: str
) -> list[MethodScore]:
    """`scores`: method -> one record per seed, in order, with `seed`, `setting` and `test`."""
    ours = _by_seed(scores[DDB]) if DDB in scores else {}
    found = []
    for method in methods:
        records = scores[method.name]
        tests = [record["test"] for record in records]
        difference = None if method.name == DDB or not ours else paired(ours, _by_seed(records))
        found.append(
            MethodScore(
                method.name,
                method.title,
                labels[method.name],
                _worst(tests),
                of_share([test["mean_accuracy"] for test in tests], [test["n"] for test in tests]),
                _adjusted(tests),
                _groups(tests),
                difference,
                [record["setting"] for record in records],
                paper.worst_group(data, method.name),
            )
        )
    return found


def arm_scores(study: str, seeds: Sequence[Sequence[Record]], data: str, classes: Sequence[str]) -> list[ArmScore]:
    """`seeds`: for each seed the records of all arms of a study."""
    found = []
    for records in zip(*seeds, strict=True):
        name, tests = records[0]["arm"], [record["test"] for record in records]
        keys = sorted({(row["from_label"], row["to_label"]) for record in records for row in record["directions"]})
        rows = [[_direction(record, key) for record in records] for key in keys]
        directions = [
            _mean_direction(f"{classes[key[0]]} → {classes[key[1]]}", own) for key, own in zip(keys, rows, strict=True)
        ]
        total = _mean_direction("all", [_summed(record["directions"]) for record in records])
        mean = of_share([test["mean_accuracy"] for test in tests], [test["n"] for test in tests])
        theirs, pruned = paper.pruning(data, name) if study == "pruning" else None, None
        if study == "inversion" and (both := paper.inversion(data, name)):
            pruned, theirs = both
        found.append(ArmScore(name, total, directions, _worst(tests), mean, theirs, pruned))
    return found


def worst_of(test: Mapping[str, Any]) -> float:
    """Worst-group accuracy; of classes where groups are unknown."""
    group = test["worst_group_accuracy"]
    return float(test["worst_class_accuracy"] if group is None else group)


def _by_seed(records: Sequence[Record]) -> dict[int, float]:
    return {record["seed"]: worst_of(record["test"]) for record in records}


def _worst(tests: Sequence[Mapping[str, Any]]) -> MeanWithInterval:
    values = [worst_of(test) for test in tests]
    worst_group = min(tests[0]["groups"], key=lambda row: row["accuracy"])
    return of_share(values, [worst_group["n"]])


def _adjusted(tests: Sequence[Mapping[str, Any]]) -> MeanWithInterval | None:
    values = [test["adjusted_mean_accuracy"] for test in tests]
    return None if None in values else over_seeds(values)


def _groups(tests: Sequence[Mapping[str, Any]]) -> list[GroupScore]:
    found = []
    for row in tests[0]["groups"]:
        own = [other for test in tests for other in test["groups"] if other["name"] == row["name"]]
        found.append(GroupScore(row["name"], row["n"], of_share([r["accuracy"] for r in own], [r["n"] for r in own])))
    return found


_COUNTED = ("generated", "pruned_psi", "pruned_rho", "over_budget", "kept")


def _direction(record: Record, key: tuple[int, int]) -> dict[str, Any]:
    """The row of a direction; one without images where this seed has none."""
    for row in record["directions"]:
        if (row["from_label"], row["to_label"]) == key:
            return dict(row)
    return {**dict.fromkeys(_COUNTED, 0), "oracle_before": None, "oracle_after": None}


def _summed(directions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of the counts; the oracle's shares are averaged, weighted by the number of images."""
    total: dict[str, Any] = {name: sum(row[name] for row in directions) for name in _COUNTED}
    for name, weight in (("oracle_before", "generated"), ("oracle_after", "kept")):
        known = [(row[name], row[weight]) for row in directions if row[name] is not None]
        images = sum(n for _, n in known)
        total[name] = sum(share * n for share, n in known) / images if images else None
    return total


def _mean_direction(name: str, rows: Sequence[Mapping[str, Any]]) -> DirectionScore:
    def mean(key: str) -> float:
        return statistics.fmean(row[key] for row in rows)

    def known(key: str) -> float | None:
        values = [row[key] for row in rows if row[key] is not None]
        return statistics.fmean(values) if values else None

    pruned = statistics.fmean(row["generated"] - row["kept"] - row["over_budget"] for row in rows)
    return DirectionScore(
        name, mean("generated"), mean("pruned_psi"), mean("pruned_rho"), pruned, mean("kept"),
        known("oracle_before"), known("oracle_after"),
    )  # fmt: skip
