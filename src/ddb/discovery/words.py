"""What was found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ddb.discovery.findings import OTHER, Finding, Group
from ddb.discovery.result import Discovery

FEW_MASKS = 0.8
"""Share of images with an object below which the page warns."""


def verdict(found: Discovery) -> str:
    """The result in one sentence."""
    if not found.surroundings:
        nothing = "Nothing was found in the surroundings"
        return f"{nothing}; inside the object something goes with the class" if found.object else nothing
    first = found.surroundings[0]
    if first.inseparable:
        return f"The surroundings ({_names(first)}) cannot be told from the class"
    many = f" (and {len(found.surroundings) - 1} more)" if len(found.surroundings) > 1 else ""
    return f"A shortcut in the surroundings: {_names(first)}{many}"


def sentences(finding: Finding, classes: Sequence[str]) -> list[str]:
    """What a finding says, and what it does not."""
    told = [_group(group, classes) for group in finding.groups if group.name != OTHER]
    p = "below 0.001" if finding.p < 0.001 else f"{finding.p:.3f}"
    told.append(f"Correlation with the class: {finding.phi:.2f} at most (p {p}, corrected for the number of clusters).")
    if finding.inseparable:
        told.append(
            "Nearly every image of each class has its own surroundings: nothing in this data tells which of the two a "
            "classifier learns. Counterfactuals, or images of each class in other surroundings, would."
            if finding.where == "surroundings"
            else "Each class has its own cluster: this is what the class is made of, not a shortcut."
        )
    elif finding.where == "object":
        told.append(
            "This is inside the object. It may be part of what makes the class: look at the sheets before you call it "
            "a shortcut."
        )
    told += [
        f"The model is wrong on {one.wrong:.0%} of {one.n:,} validation images of {classes[one.label]} in "
        f"“{one.group}”, and on {one.elsewhere:.0%} of its others."
        for one in finding.errors
    ]
    return told


def notes(found: Discovery) -> list[str]:
    """What a reader must know before trusting the findings."""
    total, with_object, read = len(found.embedded.read), int(found.embedded.found.sum()), int(found.embedded.read.sum())
    said = []
    if with_object < FEW_MASKS * total:
        said.append(
            f"An object was found in {with_object:,} of {total:,} images. The others were assigned by the whole image."
        )
    if read < total:
        said.append(f"{total - read:,} images could not be used and have no group.")
    return said


def _group(group: Group, classes: Sequence[str]) -> str:
    parts = sorted(zip(group.shares, classes, strict=True), reverse=True)
    shares = ", ".join(f"{share:.0%} of {name}" for share, name in parts[:4])
    alike = f" (also: {', '.join(word for word, _ in group.words[1:4])})" if len(group.words) > 1 else ""
    return f"“{group.name}”{alike}: {shares}."


def _names(finding: Finding) -> str:
    return ", ".join(f"“{group.name}”" for group in finding.groups if group.name != OTHER)
