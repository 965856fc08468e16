"""Numbers a family, as the scripts take them on the command line: bird=0.4 animal=0.35 hair=0.25."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np

from ddb.pocket.world import FAMILIES

SHARES = {"bird": 0.4, "animal": 0.35, "hair": 0.25}
"""Family -> its share of the pictures, in the pool and in every batch of the generator."""


def add_family_numbers(parser: argparse.ArgumentParser, flag: str, default: Mapping[str, float], text: str) -> None:
    """An option FAMILY=NUMBER ...; a family that is not named keeps its default. `numbers_of` reads it."""
    shown = " ".join(f"{family}={value:g}" for family, value in default.items())
    parser.add_argument(flag, nargs="+", default=[], metavar="FAMILY=NUMBER", help=f"{text} (default: {shown})")


def numbers_of(given: list[str], default: Mapping[str, float]) -> dict[str, float]:
    """Family -> number. SystemExit for an unknown family or something that is no number >= 0."""
    numbers = dict(default)
    for item in given:
        family, _, value = item.partition("=")
        try:
            numbers[known_family(family)] = float(value)
        except ValueError:
            raise SystemExit(f"{item}: write FAMILY=NUMBER, e.g. bird=0.4") from None
        if not numbers[family] >= 0:
            raise SystemExit(f"{item}: the number must be 0 or more")
    return numbers


def known_family(name: str) -> str:
    """The name. SystemExit if the world has no such family."""
    if name not in FAMILIES:
        raise SystemExit(f"{name!r} is no family of the pocket world: {', '.join(FAMILIES)}")
    return name


def counts_of(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """`total` parted by the shares, whole numbers (largest remainders), in the shares' order."""
    names, weights = list(shares), np.array(list(shares.values()))
    if weights.sum() <= 0:
        raise SystemExit("shares: at least one must be above 0")
    exact = total * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return dict(zip(names, counts.tolist(), strict=True))
