"""`ddb data inspect`: layout and content of a data folder, also where a run could not start with it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats.contingency import association

from ddb.config import DataConfig
from ddb.data.images import header
from ddb.data.reading.files import MISSING, Checked, check_files
from ddb.data.sources.layout.listing import Entry, named
from ddb.data.sources.layout.recognise import Recognised, recognise
from ddb.data.sources.load import read_listing, resolve_entries
from ddb.data.sources.published_counts import compare
from ddb.data.table import Quarantined
from ddb.records import SPLITS

NO_SPLIT = "all"
"""Name of the split of data without splits."""


@dataclass(frozen=True)
class Count:
    """Images of a split, class and attribute (None: unknown)."""

    split: str
    label: str
    attribute: str | None
    images: int


@dataclass(frozen=True)
class Association:
    """Association of label and attribute in a split. `cramers_v` in [0, 1], without bias correction; `phi` in [-1, 1]
    where both have two values: positive where the second class occurs more with the second attribute."""

    split: str
    cramers_v: float
    phi: float | None


@dataclass(frozen=True)
class Shapes:
    """Sizes in pixels as (width, height), sides taken one by one. `modes` and `formats` as Pillow names them."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    modes: Mapping[str, int]
    formats: Mapping[str, int]


@dataclass(frozen=True)
class Duplicate:
    """Files of the same content (SHA-256), with their splits and labels."""

    paths: tuple[str, ...]
    splits: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """`source`, `root`, `why`: how the data is read (`recognise`). `counts` are of the listed images, in the order of
    splits, classes and attributes. `missing` and `broken`: listed files that do not exist or cannot be used. `faults`:
    they would stop a run."""

    source: str
    root: str
    why: str
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    counts: tuple[Count, ...]
    associations: tuple[Association, ...]
    shapes: Shapes | None
    missing: tuple[Quarantined, ...]
    broken: tuple[Quarantined, ...]
    duplicates: tuple[Duplicate, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def inspect_data(
    config: DataConfig, cache: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> Inspection:
    """Read every file that the data names. `config.source` "auto" finds the layout out. `say` is told what takes long.

    DataError only where there is nothing to read: no such folder, no known layout, an unreadable metadata file.
    """
    found = Recognised(config.source, Path(config.root), "as data.source says")
    if config.source == "auto":
        found = recognise(named(config.root))
    listing = read_listing(config, cache)
    faults = list(listing.faults)
    entries, located = resolve_entries(listing.root, listing.entries, faults)
    say(f"reading {len(entries):,} images")
    checked = check_files(located.values(), config.max_megapixels, cache)
    files = {image: checked[path] for image, path in located.items()}
    bad = [Quarantined(e.image, e.row, files[e.image].reason) for e in entries if e.image in files]
    bad = [item for item in bad if item.reason]
    classes, attributes = _names(e.label for e in entries), _names(e.attribute for e in entries)
    if set(listing.classes) >= set(classes):
        classes = tuple(name for name in listing.classes if name in classes)
    if set(listing.attributes) >= set(attributes):
        attributes = tuple(name for name in listing.attributes if name in attributes)
    return Inspection(
        found.source,
        str(found.root),
        found.why,
        classes,
        attributes,
        _counts(entries, classes, attributes),
        _associations(entries, classes, attributes),
        _shapes([located[image] for image, file in files.items() if not file.reason]),
        tuple(item for item in bad if item.reason == MISSING),
        (*listing.quarantined, *(item for item in bad if item.reason != MISSING)),
        _duplicates(entries, files),
        tuple(faults),
        (*listing.notes, *compare(listing.entries, listing.benchmark)),
    )


def _counts(entries: Iterable[Entry], classes: Sequence[str], attributes: Sequence[str]) -> tuple[Count, ...]:
    cells = Counter((entry.split or NO_SPLIT, entry.label, entry.attribute) for entry in entries)
    return tuple(
        Count(split, label, attribute, cells[split, label, attribute])
        for split in (*SPLITS, NO_SPLIT)
        for label in classes
        for attribute in (*attributes, None)
        if cells[split, label, attribute]
    )


def _associations(
    entries: Iterable[Entry], classes: Sequence[str], attributes: Sequence[str]
) -> tuple[Association, ...]:
    """Of the splits with two classes and two attributes or more."""
    tables: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((len(classes), len(attributes)), np.int64))
    row, column = {name: i for i, name in enumerate(classes)}, {name: i for i, name in enumerate(attributes)}
    for entry in entries:
        if entry.attribute is not None:
            tables[entry.split or NO_SPLIT][row[entry.label], column[entry.attribute]] += 1
    found = []
    for split in (*SPLITS, NO_SPLIT):
        table = tables[split]
        table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        if min(table.shape) >= 2:
            found.append(Association(split, float(association(table, method="cramer")), _phi(table)))
    return tuple(found)


def _phi(table: np.ndarray) -> float | None:
    """Pearson's correlation of two binary variables; None for larger tables."""
    if table.shape != (2, 2):
        return None
    (a, b), (c, d) = table.astype(float)
    return float((a * d - b * c) / np.sqrt((a + b) * (c + d) * (a + c) * (b + d)))


def _shapes(paths: Sequence[Path]) -> Shapes | None:
    """From the files' headers; None without files."""

    if not paths:
        return None
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda path: header(path.read_bytes()), paths))
    sizes = np.array([size for size, _, _ in found])
    smallest, median, largest = ((int(w), int(h)) for w, h in (sizes.min(0), np.median(sizes, 0), sizes.max(0)))
    modes, formats = (dict(Counter(column).most_common()) for column in ([f[1] for f in found], [f[2] for f in found]))
    return Shapes(smallest, median, largest, modes, formats)


def _duplicates(entries: Iterable[Entry], files: Mapping[str, Checked]) -> tuple[Duplicate, ...]:
    """Sets of equal files; those across splits first, then those with several labels."""
    same: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.image in files and files[entry.image].sha256:
            same[files[entry.image].sha256].append(entry)
    sets = [
        Duplicate(
            tuple(entry.image for entry in group),
            tuple(entry.split or NO_SPLIT for entry in group),
            tuple(entry.label for entry in group),
        )
        for group in same.values()
        if len(group) > 1
    ]
    return tuple(sorted(sets, key=lambda item: (len(set(item.splits)) == 1, len(set(item.labels)) == 1, item.paths)))


def _names(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name is not None}))
