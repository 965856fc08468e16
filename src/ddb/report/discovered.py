"""The lines of discovered groups, beside those of given ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddb.report.collect import GroupLine, groups
from ddb.report.reading import Run


def discovered_groups(run: Run, metrics: Mapping[str, Any]) -> list[GroupLine]:
    """One line per discovered group with test images; none where the run has no discovered groups."""
    found = metrics.get("discovered") or {}
    return groups(run, {when: {**side, "groups": _named(side)} for when, side in found.items()})


def _named(side: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows with the name of the group in the place of its number, which refers to other names here."""
    return [{**row, "attribute": row["attribute_name"]} for row in side["groups"]]
