"""The images and folders below a data folder, as names: no file is opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb.data.images import SUFFIXES

OTHER_IMAGES = (".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jfif", ".ppm")
_OF_SYSTEMS = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
"""Folders created by operating systems and storage devices."""


@dataclass(frozen=True)
class Tree:
    """Paths relative to `root`. `images`: sorted, files with an image's suffix, those of other formats too.
    `children`: folder -> the folders in it, root included. `below` and `directly`: folder -> number of images in it,
    with and without its inner folders. `foreign`: folders with files that are no images, somewhere in them. `faults`:
    links, folders that cannot be read, names that are no text."""

    root: Path
    images: tuple[Path, ...]
    children: Mapping[Path, Sequence[Path]]
    below: Counter[Path]
    directly: Counter[Path]
    foreign: frozenset[Path]
    faults: tuple[str, ...]

    def inside(self, folder: Path) -> list[Path]:
        """The folders directly in `folder`."""
        return list(self.children.get(folder, ()))

    def holding(self, folder: Path) -> list[Path]:
        """Those of them that hold images."""
        return [path for path in self.inside(folder) if self.below[path]]


def read_tree(root: Path) -> Tree:
    """The tree of `root`, without hidden files and folders, those of operating systems, and run folders; linked folders
    are not entered."""
    images: list[Path] = []
    children: dict[Path, list[Path]] = {}
    foreign: set[Path] = set()
    faults: list[str] = []

    def unreadable(error: OSError) -> None:
        faults.append(f"folder {error.filename} cannot be read: {error.strerror}")

    for name, inner, files in os.walk(root, onerror=unreadable):
        here = Path(name).relative_to(root)
        if is_run_folder(files):
            inner[:], files = [], []
            foreign.update((here, *here.parents))
        inner[:] = sorted(child for child in inner if _counts(child))
        for child in _readable(here, inner, faults):
            if (root / here / child).is_symlink():
                link = (here / child).as_posix()
                faults.append(f"folder {link!r} is a link: copy what it points to into the data folder")
            else:
                children.setdefault(here, []).append(here / child)
        shown = [file for file in files if _counts(file)]
        pictures = [file for file in shown if file.lower().endswith(SUFFIXES + OTHER_IMAGES)]
        images += [here / file for file in _readable(here, pictures, faults)]
        if len(pictures) < len(shown):
            foreign.update((here, *here.parents))
    below = Counter(folder for image in images for folder in image.parents)
    directly = Counter(image.parent for image in images)
    return Tree(root, tuple(sorted(images)), children, below, directly, frozenset(foreign), tuple(faults))


def is_run_folder(files: Collection[str]) -> bool:
    """Whether these are the files at the top of a run folder of ddb, which may be inside the data folder."""
    return {"config.yaml", "environment.json"} <= set(files)


def _counts(name: str) -> bool:
    return not name.startswith(".") and name.casefold() not in _OF_SYSTEMS


def _readable(here: Path, names: Iterable[str], faults: list[str]) -> list[str]:
    """The names that are UTF-8; others are faults."""
    good = []
    for name in names:
        try:
            name.encode("utf-8")
            good.append(name)
        except UnicodeEncodeError:
            told = os.fsencode(here / name).decode("utf-8", "backslashreplace")
            faults.append(f"the name {told!r} is not UTF-8 text: rename it")
    return good
