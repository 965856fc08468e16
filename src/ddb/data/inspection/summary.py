"""The lines of `ddb run` and `ddb check` on a data set: its groups, its notes, the files that were set aside."""

from __future__ import annotations

from collections.abc import Sequence

from ddb.data.reading.files import MISSING
from ddb.data.table import NO_ATTRIBUTE, Dataset, Quarantined
from ddb.records import Group

SHOWN = 5
MOST_GROUPS = 12
"""Most groups in a line; with more groups the classes are listed."""


def summary(dataset: Dataset) -> list[str]:
    """Counts of every split by group (by class where there are no attributes), groups without training images, notes,
    and `set_aside`."""
    lines = [f"data: {len(dataset.classes)} classes in {dataset.root}"]
    for split, cells in dataset.counts().items():
        known = {group: n for group, n in cells.items() if group.attribute != NO_ATTRIBUTE}
        if known and len(cells) <= MOST_GROUPS:
            counts = ", ".join(f"{_group(dataset, group)} {n}" for group, n in cells.items())
        else:
            counts = ", ".join(
                f"{name} {sum(n for group, n in cells.items() if group.label == label)}"
                for label, name in enumerate(dataset.classes)
            )
        lines.append(f"  {split}: {sum(cells.values())} images ({counts})")
    lines += _unseen(dataset)
    return [*lines, *(f"  {note}" for note in dataset.notes), *(f"  {line}" for line in set_aside(dataset.quarantined))]


def _unseen(dataset: Dataset) -> list[str]:
    """A line on groups of the validation and test images that no training image is of. Nothing where training images
    have no attributes at all, as in a data set of test images."""
    counts = dataset.counts()
    if not any(group.attribute != NO_ATTRIBUTE for group in counts["train"]):
        return []
    evaluated = {group for split in ("val", "test") for group in counts[split] if group.attribute != NO_ATTRIBUTE}
    unseen = [_group(dataset, group) for group in sorted(evaluated - set(counts["train"]))]
    if not unseen:
        return []
    named = f"{', '.join(unseen[:SHOWN])}{_more(unseen)}"
    return [f"  no training image is of the groups {named}: figures weighted by training groups leave them out"]


def set_aside(quarantined: Sequence[Quarantined]) -> list[str]:
    """Numbers of listed images that are missing and of files that cannot be used, with the first `SHOWN` of each."""
    missing = [item for item in quarantined if item.reason == MISSING]
    others = [item for item in quarantined if item.reason != MISSING]
    lines = []
    if missing:
        names = ", ".join(f"{item.path}{_line(item)}" for item in missing[:SHOWN])
        lines.append(f"{len(missing)} of the listed images are missing: {names}{_more(missing)}")
    if others:
        names = ", ".join(f"{item.path} ({item.reason})" for item in others[:SHOWN])
        lines.append(f"{len(others)} files cannot be used and are set aside: {names}{_more(others)}")
    return lines


def _line(item: Quarantined) -> str:
    return "" if item.row is None else f" (line {item.row})"


def _more(items: Sequence[object]) -> str:
    return f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""


def _group(dataset: Dataset, group: Group) -> str:
    attribute = "unknown" if group.attribute == NO_ATTRIBUTE else dataset.attributes[group.attribute]
    return f"{dataset.classes[group.label]}/{attribute}"
