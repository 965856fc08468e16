"""Class folders: ROOT/<class>/..., ROOT/<split>/<class>/..., or ROOT/<class>/<split>/...

Names of splits: `split_names`. The classes may also be in ROOT/images. Folders of masks, annotations and the like are
no classes. Folders that are neither classes nor splits are skipped with a note; where there are no others, an error
names them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb.data.images import SUFFIXES
from ddb.data.sources.layout.listing import Entry, Listing, existing_folder
from ddb.data.sources.layout.split_names import USUAL, split_named
from ddb.data.sources.layout.tree import Tree, read_tree
from ddb.data.table import Quarantined

_TABLES = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".xlsx", ".txt")
HOLDERS = {"images", "image", "imgs", "img", "jpegimages"}
"""Folders that hold images of all classes, compared without case."""
ASIDE = {
    *("masks", "mask", "annotations", "annotation", "labels", "label", "bboxes", "boxes", "depth"),
    *("segmentations", "segmentation", "segmentationclass", "segmentationobject", "gt", "groundtruth", "ground_truth"),
}
"""Names of folders beside images that are no classes."""


@dataclass(frozen=True)
class Layout:
    """`classes`: folder of a class -> its name and split (None: no splits, or splits are folders inside). `passed`:
    skipped folders. `faults`: why this is no such layout. `notes`: for people. `reversed`: whether the splits are
    folders inside the classes'. `inner`: folder below the data folder that the paths are relative to."""

    classes: Mapping[Path, tuple[str, str | None]]
    passed: frozenset[Path] = frozenset()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reversed: bool = False
    inner: Path = Path()


def list_folder(root: str, extra: Mapping[str, str] | None = None, chosen: Collection[str] = ()) -> Listing:
    """Every image below the class folders, sorted by path. `extra`: further names of splits -> split. `chosen`: classes
    that the user named; they are classes even where they have the name of a split.

    Hidden files and files that are no images are ignored; images of other formats, and images outside the class
    folders, are quarantined.
    """
    folder = existing_folder(root)
    tree = read_tree(folder)
    layout = find_layout(tree, extra or {}, frozenset(chosen))
    entries, quarantined = [], []
    for path in tree.images:
        if not path.is_relative_to(layout.inner) or not layout.passed.isdisjoint(path.parents):
            continue
        home = next((parent for parent in path.parents if parent in layout.classes), None)
        name, split = ("", None) if home is None else layout.classes[home]
        if home is not None and layout.reversed:
            split = _split(path.relative_to(home).parts[0], extra or {})
        told = path.relative_to(layout.inner).as_posix()
        if home is None:
            quarantined.append(Quarantined(told, None, "lies in no class folder"))
        elif layout.reversed and split is None:
            quarantined.append(Quarantined(told, None, "lies in no split folder of its class"))
        elif not path.name.lower().endswith(SUFFIXES):
            quarantined.append(Quarantined(told, None, "not a JPEG, PNG or WebP image: convert it"))
        else:
            entries.append(Entry(told, name, split=split))
    classes = tuple(sorted({name for name, _ in layout.classes.values()}))
    faults = [*tree.faults, *layout.faults]
    notes = layout.notes
    return Listing(folder / layout.inner, str(folder), entries, faults, classes, (), tuple(quarantined), notes)


def find_layout(tree: Tree, extra: Mapping[str, str], chosen: frozenset[str] = frozenset()) -> Layout:
    """The layout of a tree: which folders are classes and which are splits."""
    tops = tree.inside(Path())
    full = [path for path in tops if tree.below[path] and (path.name in chosen or _kind(path.name) != "aside")]
    if len(full) == 1 and full[0].name not in chosen and _holds_folders(tree, full[0]):
        return _below(tree, full[0], extra, chosen)
    at_top = chosen if chosen <= {path.name for path in tops} else frozenset()
    named = {path: split for path in tops if (split := _split(path.name, extra)) and path.name not in at_top}
    bases = {path: _base(tree, path, extra) for path in named}
    if any(tree.below[path] for base in bases.values() for path in _Sorted(tree, base, chosen).classes):
        return _split_layout(tree, named, bases, chosen)
    return _class_layout(tree, named, extra, chosen)


def _holds_folders(tree: Tree, path: Path) -> bool:
    """Whether it is a folder "images" with nothing but folders of images in it."""
    return _kind(path.name) == "holder" and bool(tree.holding(path)) and not tree.directly[path]


class _Sorted:
    """The folders in `base`: `classes` (with images, or empty), `passed`: skipped ones, `notes` on these."""

    def __init__(self, tree: Tree, base: Path, chosen: frozenset[str]) -> None:
        self.classes: list[Path] = []
        self.passed: list[Path] = []
        self.notes: list[str] = []
        for path in tree.inside(base):
            kind = "" if path.name in chosen else _kind(path.name)
            if kind:
                self.passed.append(path)
                if kind == "holder" and tree.below[path]:
                    self.notes.append(
                        f"folder {path.as_posix()!r} ({tree.below[path]} images) is no class: passed over"
                    )
            elif not tree.below[path] and path in tree.foreign:
                self.notes.append(f"folder {path.as_posix()!r} holds no images: passed over")
            else:
                self.classes.append(path)


def _below(tree: Tree, holder: Path, extra: Mapping[str, str], chosen: frozenset[str]) -> Layout:
    """The layout of the folder "images", with paths relative to it."""
    found = find_layout(read_tree(tree.root / holder), extra, chosen)
    return Layout(
        {holder / path: value for path, value in found.classes.items()},
        frozenset(holder / path for path in found.passed),
        found.faults,
        (f"the class folders are those in {(tree.root / holder).as_posix()}", *found.notes),
        found.reversed,
        holder / found.inner,
    )


def _split_layout(tree: Tree, named: Mapping[Path, str], bases: Mapping[Path, Path], chosen: frozenset[str]) -> Layout:
    """ROOT/<split>/<class>/..."""
    inside = {top: _Sorted(tree, bases[top], chosen) for top in named}
    classes = {path: (path.name, split) for top, split in named.items() for path in inside[top].classes}
    notes = [note for found in inside.values() for note in found.notes]
    passed = {path for found in inside.values() for path in found.passed}
    above = [path for top, base in bases.items() for path in base.parents if path.is_relative_to(top)]
    passed.update(child for path in above for child in tree.inside(path) if _kind(child.name) == "aside")
    others = [path for path in tree.holding(Path()) if path not in named]
    strange = [path for path in others if not _kind(path.name)]
    if "train" not in named.values():
        beside = f"; {_listed(strange)} beside it may be what belongs into it" if strange else ""
        fault = f"no folder 'train' beside {_listed(named)}: the training images are missing{beside}"
        return Layout({}, frozenset(tree.inside(Path())), (fault,))
    for split in ("train", "val", "test"):
        several = [path for path, own in named.items() if own == split and tree.below[path]]
        if len(several) > 1:
            notes.append(f"the folders {_listed(several)} are all read as {split} images")
    notes += [
        f"folder {path.name!r} ({tree.below[path]} images) beside {_listed(named)} has no split's name: passed over "
        f"(splits: {USUAL})"
        for path in strange
    ]
    return Layout(classes, frozenset(passed.union(others)), (), tuple(notes))


def _class_layout(tree: Tree, named: Mapping[Path, str], extra: Mapping[str, str], chosen: frozenset[str]) -> Layout:
    """ROOT/<class>/... or ROOT/<class>/<split>/..."""
    found = _Sorted(tree, Path(), chosen)
    notes, passed = found.notes, set(found.passed)
    splits = [path for path in found.classes if path in named and tree.below[path]]
    classes = [path for path in found.classes if path not in named]
    if splits and classes and chosen:
        notes.append(f"{_listed(splits)} is none of data.classes: passed over")
        passed |= set(splits)
    elif fault := _misplaced(tree, splits, classes) or _one_folder(tree, classes):
        return Layout({}, frozenset(tree.inside(Path())), (fault,), tuple(notes))
    owner: dict[Path, tuple[str, str | None]] = {path: (path.name, None) for path in classes}
    inner = {path: [child for child in tree.holding(path) if _split(child.name, extra)] for path in classes}
    if not any(inner.values()):
        return Layout(owner, frozenset(passed), (), tuple(notes))
    trained = {path for path in classes if "train" in {_split(child.name, extra) for child in inner[path]}}
    without = [path for path in classes if tree.below[path] and path not in trained]
    faults = [
        f"class folder {path.name!r} holds no training folder, others hold folders of splits "
        f"({_listed(next(filter(None, inner.values())))}): use <split>/<class> or <class>/<split> for all"
        for path in without
    ]
    return Layout(
        owner, frozenset(passed), tuple(faults), (*notes, "splits are the folders inside the class folders"), True
    )


def _misplaced(tree: Tree, splits: Sequence[Path], classes: Sequence[Path]) -> str:
    """The fault where there are no class folders, or folders with names of splits beside them; else ""."""
    if splits and classes:
        return (
            f"{_listed(splits)} has the name of a split but lies beside the class folders {_listed(classes)}: move "
            "those into a folder 'train', or name the classes that are meant (data.classes)"
        )
    if splits:
        number = sum(tree.below[path] for path in splits)
        what = f"the {number} images in {_listed(splits)} lie in no class folders"
    elif classes:
        return ""
    elif kinds := [path for path in tree.inside(Path()) if _kind(path.name)]:
        what = f"{_listed(kinds)} are not classes"
    else:
        direct = tree.directly[Path()]
        what = f"{direct} images lie in no folder" if direct else "it holds no folders with images"
    return f"no class folders there ({what}): put the images of each class into a folder of their own{_hint(tree)}"


def _base(tree: Tree, top: Path, extra: Mapping[str, str]) -> Path:
    """The folder that holds the class folders of a split: `train`, or `train/train` or `train/images` where these are
    its only content."""
    base = top
    while not tree.directly[base]:
        inner = [path for path in tree.holding(base) if _kind(path.name) != "aside"]
        if len(inner) != 1:
            break
        child = inner[0]
        same = _split(child.name, extra) == _split(top.name, extra)
        if not tree.holding(child) or not (same or _kind(child.name) == "holder"):
            break
        base = child
    return base


def _one_folder(tree: Tree, classes: Sequence[Path]) -> str:
    """The message where all images are in one folder that is itself a data set; else ""."""
    full = [path for path in classes if tree.below[path]]
    if len(full) != 1 or tree.directly[full[0]]:
        return ""
    inner = _listed(tree.holding(full[0]))
    return f"all images lie in {full[0].name!r}, which holds {inner}: set data.root to {tree.root / full[0]}"


def _hint(tree: Tree) -> str:
    """The part of a message that names tables beside the images, which may hold their labels."""
    tables = sorted(path.name for path in tree.root.iterdir() if path.suffix.lower() in _TABLES and path.is_file())
    if not tables:
        return ""
    first = next((name for name in tables if name.lower().endswith((".csv", ".parquet"))), "")
    way = f": if it holds the labels, name it (--data {tree.root / first})" if first else ""
    return f"; {', '.join(tables[:3])} lies there{way}"


def _kind(name: str) -> str:
    """ "holder", "aside" or "" for a folder's name."""
    plain = name.casefold()
    return "holder" if plain in HOLDERS else "aside" if plain in ASIDE else ""


def _split(name: str, extra: Mapping[str, str]) -> str | None:
    return extra.get(name) or split_named(name)


def _listed(paths: Collection[Path]) -> str:
    names = [repr(path.name) for path in paths]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
