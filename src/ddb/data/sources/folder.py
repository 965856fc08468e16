"""Class folders: ROOT/<class>/..., or ROOT/{train,val,test}/<class>/... (val also as valid or validation).

ROOT/masks beside the splits may hold given masks: it is no split and is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ddb.data.images import SUFFIXES
from ddb.data.sources.listing import Entry, Listing, existing_folder
from ddb.data.table import Quarantined

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
MASKS = "masks"
_OTHER_IMAGES = (".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jfif", ".ppm")


def list_folder(root: str, names: Mapping[str, str] = SPLIT_NAMES) -> Listing:
    """Every image below the class folders, sorted by path; a folder "train" at the top makes it a split layout.
    `names`: folder of a split -> split.

    Hidden files and files that are no images are passed over; images of other formats, and images outside the class
    folders, are quarantined.
    """
    folder = existing_folder(root)
    files, folders, faults = _walk(folder)
    depth = 1 if (folder / "train").is_dir() else 0
    if depth:
        tops = sorted({path.parts[0] for path in folders})
        known = ", ".join(names)
        faults += [f"folder {t!r} beside 'train' is no split: use {known}" for t in tops if t not in (*names, MASKS)]
        folders = [path for path in folders if path.parts[0] in names]
        files = [path for path in files if len(path.parts) == 1 or path.parts[0] in names]
    classes = sorted({path.parts[depth] for path in folders if len(path.parts) > depth})
    if not classes:
        faults.append("no class folders there: put the images of each class into a folder of their own")
    entries, quarantined = [], []
    for path in files:
        if len(path.parts) < depth + 2:
            quarantined.append(Quarantined(path.as_posix(), None, "lies in no class folder"))
        elif not path.name.lower().endswith(SUFFIXES):
            quarantined.append(Quarantined(path.as_posix(), None, "not a JPEG, PNG or WebP image: convert it"))
        else:
            split = names[path.parts[0]] if depth else None
            entries.append(Entry(path.as_posix(), path.parts[depth], split=split))
    return Listing(folder, str(folder), entries, faults, tuple(classes), quarantined=tuple(quarantined))


def _walk(root: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Image files and folders below `root`, relative to it and sorted, and faults. Linked folders are not entered."""
    files: list[Path] = []
    folders: list[Path] = []
    faults: list[str] = []

    def unreadable(error: OSError) -> None:
        faults.append(f"folder {error.filename} cannot be read: {error.strerror}")

    for name, children, images in os.walk(root, onerror=unreadable):
        here = Path(name)
        children[:] = sorted(child for child in children if not child.startswith("."))
        for child in children:
            relative = (here / child).relative_to(root)
            if (here / child).is_symlink():
                faults.append(f"folder {relative.as_posix()!r} is a link: copy what it points to into the data folder")
            else:
                folders.append(relative)
        suffixes = SUFFIXES + _OTHER_IMAGES
        files += [
            (here / image).relative_to(root)
            for image in images
            if image.lower().endswith(suffixes) and not image.startswith(".")
        ]
    return sorted(files), sorted(folders), faults
