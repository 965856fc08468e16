"""A metadata file with a row per image, as in benchmarks: numbers for labels, attributes and splits.

    WILDS         ROOT/metadata.csv            img_filename (or filename, ...), y, split, and attributes such as place
    SubpopBench   ROOT/metadata_NAME.csv       filename, y, a, split; paths often absolute, of the machine that wrote it

Columns are chosen by `data.target` and `data.attribute`, else by their usual names. Splits are 0, 1, 2 or words; rows
of further splits (WILDS's id_val, ImageNetBG's mixed_rand) are skipped with a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb.data.sources.layout.listing import Entry, Listing, named
from ddb.data.sources.layout.locate import located
from ddb.data.sources.layout.split_names import UnknownSplits
from ddb.data.sources.metadata_file import column_names, read_metadata
from ddb.errors import DataError

IMAGES = ("img_filename", "filename", "file_name", "image_path", "path", "image", "image_id")
TARGETS = ("y", "label")
ATTRIBUTES = ("place", "a", "attribute", "background")
FOLDERS = ("img_align_celeba", "waterbird_complete95_forest2water2", "images", "train")
"""Image folders of known layouts that the paths omit (SubpopBench's CelebA and Waterbirds, iWildCam)."""
_CODES = {"0": "train", "1": "val", "2": "test", "tr": "train", "va": "val", "te": "test"}


@dataclass(frozen=True)
class Names:
    """Names of the codes of a known file, and its key into the published counts."""

    labels: Mapping[str, str]
    attributes: Mapping[str, str]
    benchmark: str = ""


KNOWN = {  # SubpopBench's scripts/download.py
    "metadata_waterbirds": Names({"0": "landbird", "1": "waterbird"}, {"0": "land", "1": "water"}, "waterbirds"),
    "metadata_celeba": Names({"0": "not blond", "1": "blond"}, {"0": "female", "1": "male"}, "celeba"),
    "metadata_metashift": Names({"0": "dog", "1": "cat"}, {"0": "outdoor", "1": "indoor"}),
}


def list_metadata(root: str, target: str = "", attribute: str = "") -> Listing:
    """Every row of the metadata file: `root` itself, or the one below it. Codes of known files get their names."""
    path = _file(root)
    folder, columns = path.parent, _columns(path, target, attribute)
    chosen = [name for name in (columns.attribute, columns.split) if name]
    rows, faults = read_metadata(path, (columns.image, columns.target, *chosen), ())
    paths, notes = located(folder, [row.values[columns.image] for row in rows], FOLDERS)
    names = Names({}, {}) if target or attribute else KNOWN.get(path.stem, Names({}, {}))
    splits = UnknownSplits(_CODES)
    entries = []
    for row, image in zip(rows, paths, strict=True):
        label = row.values[columns.target].strip()
        split = row.values[columns.split].strip() if columns.split else ""
        if not image or not label:
            faults.append(f"line {row.line} has no {columns.target if image else columns.image}")
        elif columns.split and split not in _CODES and (not split or split.lstrip("-").isdecimal()):
            faults.append(f"line {row.line}: split {split!r} is unknown: use 0 (train), 1 (val), 2 (test)")
        else:
            known = splits.look_up(split) if columns.split else None
            if known or not columns.split:
                value = row.values[columns.attribute].strip() if columns.attribute else ""
                other = names.attributes.get(value, value) or None
                entries.append(Entry(image, names.labels.get(label, label), other, known, row.line))
    notes += splits.notes()
    return Listing(
        folder,
        str(path),
        entries,
        faults,
        tuple(names.labels.values()),
        tuple(names.attributes.values()),
        notes=tuple(notes),
        benchmark=names.benchmark,
    )


@dataclass(frozen=True)
class _Columns:
    """Names of columns; "" where the file has none."""

    image: str
    target: str
    attribute: str
    split: str


def _columns(path: Path, target: str, attribute: str) -> _Columns:
    header = column_names(path)
    wanted = {"an image column": IMAGES, "a label column": (target,) if target else TARGETS}
    found = {what: _first(names, header) for what, names in wanted.items()}
    missing = [f"{what} ({', '.join(wanted[what])})" for what, name in found.items() if not name]
    if attribute and attribute not in header:
        missing.append(f"the attribute column {attribute}")
    if missing:
        raise DataError(f"{path} line 1 lacks {' and '.join(missing)}; found: {', '.join(header)[:300] or 'nothing'}")
    split = "split" if "split" in header else ""
    image, label = found.values()
    return _Columns(image, label, attribute or _first(ATTRIBUTES, header), split)


def _first(names: Sequence[str], header: Sequence[str]) -> str:
    return next((name for name in names if name in header), "")


def _file(root: str) -> Path:
    """The metadata file that `data.root` names or holds."""
    path = named(root)
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"data.root: {path} does not exist")
    found = sorted(path.glob("metadata*.csv")) + sorted(path.glob("metadata*.parquet"))
    if len(found) > 1:
        names = ", ".join(item.name for item in found)
        raise DataError(f"{path} holds {names}: set data.root to the one that is meant")
    if found:
        return found[0]
    below = sorted(path.glob("*/metadata*.csv"))
    hint = f"; there is one in {below[0].parent}: set data.root to it" if below else ""
    raise DataError(f"{path} holds no metadata.csv and no metadata_NAME.csv{hint}")
