"""NICO++ (Zhang et al., arXiv 2204.08040): objects in six contexts, in its two published forms and SubpopBench's.

    ROOT/NICO_DG/autumn/airplane/*.jpg                 domain generalisation benchmark, 60 classes
    ROOT/NICO_DG_official/{autumn,...}_{train,test}.txt   lists of it: path and number of the class in every line
    ROOT/public_dg_0416/train/autumn/airplane/*.jpg    the challenge's track 1
    ROOT/metadata.csv                                  SubpopBench's splits of track 1: filename, split, y, a

Lists: xxgege/NICO-plus, `domainbed/datasets.py`; track 1 and metadata.csv: YyzHarry/SubpopBench,
`subpopbench/scripts/download.py`. The label is the object, the attribute the context; both are the names of folders.
With lists, the training images of all contexts are training images, and likewise for val and test. Without lists and
metadata.csv, splits are drawn from each class. `data.classes` chooses a few of the classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ddb.data.images import SUFFIXES
from ddb.data.sources.layout.listing import Entry, Listing, existing_folder
from ddb.data.sources.layout.locate import located
from ddb.data.sources.layout.tree import read_tree
from ddb.data.sources.metadata_file import read_metadata
from ddb.errors import DataError
from ddb.records import SPLITS

CONTEXTS = ("autumn", "dim", "grass", "outdoor", "rock", "water")
HOMES = ("NICO_DG", "public_dg_0416/train", "track_1/public_dg_0416/train", "DG_Benchmark/NICO_DG", "")
"""Where the folders of the contexts may lie below ROOT."""
LISTS = "NICO_DG_official"
METADATA = "metadata.csv"
_SPLITS = {"0": "train", "1": "val", "2": "test"}
Row = tuple[str, str | None, str, str]
"""Path of an image, its split, the number of its class ("": none), and where it stands, for messages."""


def list_nico(root: str) -> Listing:
    """Every image with its object and context."""
    folder = existing_folder(root)
    home = nico_home(folder)
    if home is None:
        raise DataError(f"{folder} is no NICO++ folder: there should be {', '.join(CONTEXTS[:3])}, ... with classes in")
    lists = sorted(path for name in (LISTS, "") for path in (folder / home).parent.glob(f"{name or '.'}/*_*.txt"))
    lists = [path for path in lists if _named(path)]
    if (folder / METADATA).is_file():
        rows, faults, notes = _from_metadata(folder)
    elif lists:
        rows, faults, notes = _from_lists(folder, home, lists)
    else:
        tree = read_tree(folder / home)
        images = [path for path in tree.images if path.name.lower().endswith(SUFFIXES) and len(path.parts) == 3]
        rows = [((home / path).as_posix(), None, "", "") for path in images if path.parts[0] in CONTEXTS]
        faults, notes = list(tree.faults), []
    entries, wrong = _entries(rows)
    where = str(folder / METADATA if (folder / METADATA).is_file() else folder)
    contexts = tuple(name for name in CONTEXTS if name in {entry.attribute for entry in entries})
    return Listing(folder, where, entries, [*faults, *wrong], (), contexts, notes=tuple(notes))


def nico_home(folder: Path) -> Path | None:
    """The folder below `folder` that holds the contexts, relative to it; None where there is none."""
    for name in HOMES:
        held = [context for context in CONTEXTS if (folder / name / context).is_dir()]
        if len(held) >= 3:
            return Path(name)
    return None


def _from_metadata(folder: Path) -> tuple[list[Row], list[str], list[str]]:
    read, faults = read_metadata(folder / METADATA, ("filename", "split", "y"), ())
    paths, notes = located(folder, [row.values["filename"] for row in read])
    rows: list[Row] = []
    for row, path in zip(read, paths, strict=True):
        split = row.values["split"].strip()
        if split in _SPLITS:
            rows.append((path, _SPLITS[split], row.values["y"].strip(), f"line {row.line}"))
        else:
            faults.append(f"line {row.line}: split {split!r} is unknown: use 0 (train), 1 (val), 2 (test)")
    return rows, faults, notes


def _from_lists(folder: Path, home: Path, lists: Iterable[Path]) -> tuple[list[Row], list[str], list[str]]:
    """The lines of the lists: a path, which may hold spaces, and a number."""
    told: list[Row] = []
    faults: list[str] = []
    for path in lists:
        split = path.stem.rpartition("_")[2]
        for number, line in enumerate(_lines(path), start=1):
            image, _, code = line.strip().rpartition(" ")
            if image and code.isdecimal():
                told.append((image, split, code, f"{path.name} line {number}"))
            elif line.strip():
                faults.append(f"{path.name} line {number} is not a path and the number of a class")
    above = [name.as_posix() for name in (home.parent, home) if name.parts]
    paths, notes = located(folder, [image for image, *_ in told], above)
    rows = [(path, split, code, where) for path, (_, split, code, where) in zip(paths, told, strict=True)]
    return rows, faults, notes


def _entries(rows: Sequence[Row]) -> tuple[list[Entry], list[str]]:
    """Object and context are the last two folders of a path; the numbers of classes have to agree with the folders."""
    entries, faults = [], []
    objects: defaultdict[str, set[str]] = defaultdict(set)
    for path, split, code, where in rows:
        parts = PurePosixPath(path).parts
        if len(parts) < 3 or parts[-3] not in CONTEXTS:
            faults.append(f"{where}: {path!r} does not end in context/class/image")
            continue
        objects[code].add(parts[-2])
        line = where.rpartition(" ")[2]
        entries.append(Entry(path, parts[-2], parts[-3], split, int(line) if line else None))
    mixed = {code: names for code, names in objects.items() if code and len(names) > 1}
    faults += [f"class {code} stands for {', '.join(sorted(names)[:4])}" for code, names in sorted(mixed.items())]
    return entries, faults


def _named(path: Path) -> bool:
    """Whether this is a list such as autumn_train.txt."""
    context, _, split = path.stem.rpartition("_")
    return context in CONTEXTS and split in SPLITS


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason}") from error
