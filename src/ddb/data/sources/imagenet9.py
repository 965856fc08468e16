"""ImageNet-9 (Xiao et al., Noise or Signal, arXiv 2006.09994): nine classes, test images with exchanged backgrounds.

    ROOT/original/train/00_dog/*.JPEG              training images (5045 of each class), or
    ROOT/in9l/train/00_dog/*.JPEG                  the larger set; both are downloads of their own
    ROOT/bg_challenge/original/val/00_dog/*.JPEG   test images (450 of each class) and their variations:
    ROOT/bg_challenge/{mixed_same,mixed_rand,mixed_next,only_fg,no_fg,only_bg_b,only_bg_t}/val/...
    ROOT/bg_challenge/fg_mask/val/00_dog/*.npy     foreground masks of the test images

Layout: MadryLab/backgrounds_challenge (README, `in9_eval.py`), with the folders of YyzHarry/SubpopBench
(`subpopbench/scripts/download.py`); the test variations may lie in ROOT itself. The attribute is the variation: all
training images are original. Variations without the object (no_fg, only_bg_b, only_bg_t) are left out: their label is
not to be seen. `val` folders beside the training images are left out too, as the README advises; validation images are
drawn from the training images. No stage segments test images, so fg_mask is not read.
"""

from __future__ import annotations

import re
from pathlib import Path

from ddb.data.images import SUFFIXES
from ddb.data.sources.layout.listing import Entry, Listing, existing_folder
from ddb.data.sources.layout.tree import read_tree
from ddb.errors import DataError

CLASSES = (
    "dog", "bird", "wheeled vehicle", "reptile", "carnivore", "insect", "musical instrument", "primate", "fish",
)  # fmt: skip
FOLDERS = tuple(f"{number:02d}_{name}" for number, name in enumerate(CLASSES))
TESTS = "bg_challenge"
TRAINING = ("original", "in9l")
SHOWN = ("original", "mixed_same", "mixed_rand", "mixed_next", "only_fg")
"""Variations of the test images that show the object."""
HIDDEN = ("no_fg", "only_bg_b", "only_bg_t")
_CLASS = re.compile(r"\d\d_.+")


def list_imagenet9(root: str, variant: str = "") -> Listing:
    """Training images (`variant`: "original" or "in9l"; empty: original where it is there) and test images."""
    folder = existing_folder(root)
    tests = Path(TESTS) if (folder / TESTS).is_dir() else Path()
    training, notes = _training(folder, variant)
    if not tests.parts and training == "original" and (folder / "original" / "val").is_dir():
        raise DataError(f"{folder}/original may hold validation or test images: move the test variations into {TESTS}/")
    homes = {Path(training, "train"): ("train", "original")}
    homes |= {tests / name / "val": ("test", name) for name in SHOWN if (folder / tests / name / "val").is_dir()}
    if len(homes) == 1:
        raise DataError(f"{folder} holds no test images: there should be {TESTS}/original/val/{FOLDERS[0]} and others")
    hidden = [name for name in HIDDEN if (folder / tests / name).is_dir()]
    if hidden:
        notes.append(f"test images of {', '.join(hidden)} are left out: they do not show the object")
    entries: list[Entry] = []
    faults: list[str] = []
    for home, (split, variation) in homes.items():
        tree = read_tree(folder / home)
        faults += tree.faults
        strange = sorted({path.parts[0] for path in tree.images} - set(FOLDERS))
        faults += [f"{home.as_posix()}/{name} is no class: the folders are {', '.join(FOLDERS)}" for name in strange]
        entries += [
            Entry((home / path).as_posix(), CLASSES[FOLDERS.index(path.parts[0])], variation, split)
            for path in tree.images
            if path.parts[0] in FOLDERS and path.name.lower().endswith(SUFFIXES)
        ]
    shown = tuple(name for name in SHOWN if name in {variation for _, variation in homes.values()})
    attributes = ("original", *(name for name in shown if name != "original"))
    benchmark = "imagenet9" if training == "original" and shown == SHOWN else ""
    return Listing(folder, str(folder), entries, faults, CLASSES, attributes, notes=tuple(notes), benchmark=benchmark)


def is_imagenet9(folder: Path) -> bool:
    """Whether the test variations and training images lie there."""
    tests = folder / TESTS if (folder / TESTS).is_dir() else folder
    return any((tests / name / "val" / FOLDERS[0]).is_dir() for name in (*SHOWN, *HIDDEN)) and bool(_there(folder))


def _there(folder: Path) -> list[str]:
    return [name for name in TRAINING if any(_CLASS.fullmatch(path.name) for path in folder.glob(f"{name}/train/*"))]


def _training(folder: Path, variant: str) -> tuple[str, list[str]]:
    """The folder of the training images, and notes."""
    there = _there(folder)
    if not there or (variant and variant not in there):
        wanted = [variant] if variant else TRAINING
        paths = " or ".join(f"{name}/train/{FOLDERS[0]}" for name in wanted)
        raise DataError(f"{folder} holds no training images of ImageNet-9: there should be {paths}")
    if variant or len(there) == 1:
        return variant or there[0], []
    return there[0], [f"training images are those of {there[0]}; {' and '.join(there[1:])} is there too (data.variant)"]
