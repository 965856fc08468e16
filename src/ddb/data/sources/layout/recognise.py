"""Recognition of the layout of a data folder or file."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from ddb.data.reading.file_kinds import what_is
from ddb.data.sources import celeba, metashift, spawrious, urbancars
from ddb.data.sources.folder import find_layout
from ddb.data.sources.hub.imagefolder import metadata_files
from ddb.data.sources.hub.shards import find_shards, read_columns
from ddb.data.sources.imagenet9 import is_imagenet9
from ddb.data.sources.layout.listing import inner_folder
from ddb.data.sources.layout.tree import read_tree
from ddb.data.sources.metadata import IMAGES, TARGETS
from ddb.data.sources.metadata_file import PARQUET, column_names
from ddb.data.sources.nico import METADATA, nico_home
from ddb.errors import DataError

_CELEBA_IMAGE = re.compile(r"\d{6}\.(jpg|png)")
_WATERBIRDS = {"img_filename", "y", "split", "place"}


@dataclass(frozen=True)
class Recognised:
    """`source` and `root`: the values of `data.source` and `data.root`. `why`: the evidence, for people."""

    source: str
    root: Path
    why: str


def recognise(path: Path) -> Recognised:
    """The layout of a folder, or of a CSV or Parquet file: the first that fits, the most specific ones first, class
    folders last. Where none fits, DataError describes the folder's content."""
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        raise DataError(f"{path} does not exist")
    found = _lists(path) or _nico(path) or _metadata(path) or _contexts(path) or _shortcuts(path) or _hub(path)
    if found is not None:
        return found
    tree = read_tree(path)
    layout = find_layout(tree, {})
    if any(tree.below[folder] for folder in layout.classes) and not layout.faults:
        names = sorted({name for name, _ in layout.classes.values()})
        splits = sorted({path.parts[0] for path, (_, split) in layout.classes.items() if split})
        many = f"{len(names)} folders of images, {', '.join(names[:4])}"
        return Recognised("folder", path, f"folders of classes in {', '.join(splits)}" if splits else many)
    if found := _table_beside(path):
        return found
    inner = [child.name for child in sorted(path.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    raise DataError(
        f"{path} is in no layout that ddb knows (docs/datasets.md); it holds {', '.join(inner[:5]) or 'no folders'}: "
        f"{'; '.join(layout.faults) or 'no class folders with images'}"
    )


def _file(path: Path) -> Recognised:
    if path.suffix.lower() != ".csv" and path.suffix.lower() not in PARQUET:
        raise DataError(f"{path} is {what_is(path) or 'of an unknown kind'}; name a folder, or a .csv or .parquet file")
    names = set(column_names(path))
    if {"path", "label"} <= names:
        return Recognised("table", path, f"{path.name} has the columns path and label")
    if path.suffix.lower() in PARQUET and any(column.image for column in read_columns(path)):
        return Recognised("huggingface", path, f"{path.name} holds images")
    return _by_columns(path, names) or Recognised("table", path, f"{path.name} is a table")


def _lists(folder: Path) -> Recognised | None:
    for name in celeba.ATTRIBUTES:
        if (folder / name).is_file():
            return Recognised("celeba", folder, f"{name} is CelebA's table of attributes")
    return None


def _metadata(folder: Path) -> Recognised | None:
    """A metadata file at the top, unless it is an imagefolder's."""
    for path in (*sorted(folder.glob("metadata*.csv")), folder / "celeba_split.csv", folder / "celeba_metadata.csv"):
        if path.is_file() and (found := _by_columns(path, set(column_names(path)))):
            return found
    return None


def _table_beside(folder: Path) -> Recognised | None:
    """The one CSV or Parquet file at the top whose columns name images and labels."""
    paths = [
        path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".csv" or path.suffix.lower() in PARQUET
    ]
    found = [(path, set(column_names(path))) for path in paths if path.is_file()]
    fitting = [(path, names) for path, names in found if names & set(IMAGES) and names & set(TARGETS)]
    if len(fitting) != 1:
        return None
    (path, names), *_ = fitting
    return Recognised("table" if {"path", "label"} <= names else "wilds", path, f"{path.name} names images and labels")


def _by_columns(path: Path, names: set[str]) -> Recognised | None:
    listed = f"{path.name} has the columns"
    if {celeba.TARGET, celeba.ATTRIBUTE, "split"} <= names:
        return Recognised("celeba", path.parent, f"{listed} {celeba.TARGET}, {celeba.ATTRIBUTE} and split")
    if names >= _WATERBIRDS:
        if _CELEBA_IMAGE.fullmatch(_first_value(path, "img_filename")):
            return Recognised("celeba", path.parent, f"{listed} of Waterbirds, but names CelebA's images")
        return Recognised("waterbirds", path.parent, f"{listed} img_filename, y, split and place")
    if {"filename", "y", "a", "split"} <= names:
        return Recognised("subpopbench", path, f"{listed} filename, y, a and split")
    if "file_name" not in names and names & set(TARGETS) and names & {"filename", "img_filename", "image_path", "path"}:
        return Recognised("wilds", path, f"{listed} {', '.join(sorted(names)[:8])}")
    return None


def _contexts(folder: Path) -> Recognised | None:
    for name in metashift.GROUP_FILES:
        if (folder / name).is_file():
            return Recognised("metashift", folder, f"{name} names the groups of MetaShift's images")
    for child in sorted(folder.glob("train/*/*(*)")):
        if child.is_dir() and child.name.startswith(f"{child.parent.name}("):
            return Recognised("metashift", folder, f"folders such as {child.relative_to(folder).as_posix()}")
    return None


def _nico(folder: Path) -> Recognised | None:
    """Contexts in the folder's own layout: beside a metadata.csv only where this is SubpopBench's."""
    home = nico_home(folder)
    if home is None or ((folder / METADATA).is_file() and "public_dg_0416" not in home.parts):
        return None
    return Recognised("nico", folder, f"{(home / 'autumn').as_posix()} and other contexts of NICO++")


def _shortcuts(folder: Path) -> Recognised | None:
    """UrbanCars, Spawrious, ImageNet-9."""
    for child in sorted(inner_folder(folder, urbancars.FOLDER).iterdir()):
        if child.is_dir() and urbancars.SHARES.fullmatch(child.name):
            return Recognised("urbancars", folder, f"{child.name} is a folder of UrbanCars")
    dogs = inner_folder(folder, spawrious.FOLDER)
    if any((dogs / "0" / place / spawrious.CLASSES[0]).is_dir() for place in spawrious.PLACES):
        return Recognised("spawrious", folder, "folders of places and breeds, as in Spawrious")
    if is_imagenet9(folder):
        return Recognised("imagenet9", folder, "variations of ImageNet-9's test images, and training images")
    return None


def _hub(folder: Path) -> Recognised | None:
    for name in ("dataset_dict.json", "state.json"):
        if (folder / name).is_file():
            return Recognised("huggingface", folder, f"{name}: written by save_to_disk of `datasets`")
    tables = metadata_files(folder)
    if tables:
        return Recognised(
            "huggingface", folder, f"{tables[0].relative_to(folder).as_posix()} with file_name: an imagefolder"
        )
    shards = find_shards(folder)
    if shards:
        return Recognised("huggingface", folder, f"{len(shards)} Parquet files, first {shards[0].path.name}")
    return None


def _first_value(path: Path, column: str) -> str:
    """The first row's value in a CSV file."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        row = next(csv.DictReader(file, skipinitialspace=True), {})
    return str(row.get(column, "")).strip()
