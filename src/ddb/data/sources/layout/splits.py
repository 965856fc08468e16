"""Drawing splits for sources without splits or without one of them. No draw depends on the order of files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace

from ddb.data.sources.layout.listing import Entry


def make_splits(
    entries: list[Entry],
    missing: Collection[str],
    shares: dict[str, float],
    seed: int,
    reserve: int,
    source: str = "train",
) -> list[Entry]:
    """Entries with a split each: those with None become "train", and of each class's images in the split `source` the
    share `shares[split]` (at least one image) goes to every split in `missing`; `reserve` images stay where they are.

    Stratified by class. The images are ranked by the hash of (seed, path): the same images for the same seed on any
    machine, and an image added later moves few others.
    """
    placed = [entry if entry.split else replace(entry, split="train") for entry in entries]
    if not missing:
        return placed
    moved: dict[str, str] = {}
    for label in {entry.label for entry in placed}:
        pool = [entry.image for entry in placed if entry.label == label and entry.split == source]
        pool.sort(key=lambda image: hashlib.sha256(f"{seed}:{image}".encode()).digest())
        size = len(pool)
        for split in sorted(missing):
            count = max(0, min(max(1, round(shares[split] * size)), len(pool) - reserve))
            moved |= dict.fromkeys(pool[:count], split)
            pool = pool[count:]
    return [replace(entry, split=moved.get(entry.image, entry.split)) for entry in placed]
