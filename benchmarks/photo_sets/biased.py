"""A biased data set of two classes of objects on two kinds of scenes, as a table that `ddb` reads."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddb.data.images import read_image
from ddb.learn.seeds import seed_of
from photo_sets.cutouts import Cutout, cutouts, fitted

Pixels = npt.NDArray[np.uint8]
SIDE = 224
OBJECT = (0.45, 0.75)
"""Longer side of the object, shares of the picture's side."""
HELD_OUT = 5
"""Every fifth object and scene of the training photographs serves validation alone."""
COUNTS = {"train": 480, "val": 120, "test": 400}
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Wanted:
    """`photos` and `scenes`: folders with `train/<class>/` and `val/` or `test/<class>/`; `classes` A, B;
    `scenes_of`: the scenes that A and B are usually in; `correlation`: share of training images in the usual scene."""

    photos: Path
    scenes: Path
    classes: tuple[str, str]
    scenes_of: tuple[str, str]
    seed: int
    correlation: float = 0.95


@dataclass(frozen=True)
class Parts:
    """What one split is composed of: for each class its objects, for each kind its scenes."""

    objects: Sequence[Sequence[Cutout]]
    scenes: Sequence[Sequence[Path]]


def write_set(wanted: Wanted, out: Path, cache: Path) -> Path:
    """Write images, masks and `images.csv` (path, label, attribute, split) into `out`; returns the table. Objects and
    scenes of validation and test images occur in no training image. Training images have the wanted correlation,
    validation and test images have all four groups in equal parts. `cache`: see `cutouts`."""
    table = out / "images.csv"
    if table.exists():
        return table
    rows = []
    for split, parts in splits(wanted, cache).items():
        for number, (label, kind) in enumerate(cells(split, wanted.correlation)):
            rng = np.random.default_rng(seed_of(wanted.seed, split, number))
            image, mask = composed(parts.objects[label], parts.scenes[kind], rng)
            name = f"{split}/{wanted.classes[label]}-{wanted.scenes_of[kind]}-{number:04d}"
            _write(out, name, image, mask)
            rows.append([f"images/{name}.jpg", wanted.classes[label], wanted.scenes_of[kind], split])
    draft = table.with_suffix(".tmp")
    with draft.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label", "attribute", "split"], *rows])
    draft.replace(table)
    return table


def splits(wanted: Wanted, cache: Path) -> Mapping[str, Parts]:
    """The objects and scenes of each split; `cache`: the folder of objects that were cut out."""
    other = _other(wanted.photos)
    found = [cutouts(wanted.photos / "train" / name, cache / "train" / name) for name in wanted.classes]
    unseen = [cutouts(wanted.photos / other / name, cache / other / name) for name in wanted.classes]
    scenes = [_files(wanted.scenes / "train" / name) for name in wanted.scenes_of]
    unseen_scenes = [_files(wanted.scenes / _other(wanted.scenes) / name) for name in wanted.scenes_of]
    return {
        "train": Parts([_without_fifth(one) for one in found], [_without_fifth(one) for one in scenes]),
        "val": Parts([one[::HELD_OUT] for one in found], [one[::HELD_OUT] for one in scenes]),
        "test": Parts(unseen, unseen_scenes),
    }


def cells(split: str, correlation: float) -> Iterator[tuple[int, int]]:
    """(class, kind of scene) of every image of a split."""
    each = COUNTS[split] // 2
    usual = round(each * (correlation if split == "train" else 0.5))
    for label in (0, 1):
        for number in range(each):
            yield label, label if number < usual else 1 - label


def composed(
    objects: Sequence[Cutout], scenes: Sequence[Path], rng: np.random.Generator
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """A random object on a random scene: uint8 [SIDE, SIDE, 3], and where the object is."""
    picture = _scene(scenes[rng.integers(len(scenes))], rng)
    small, opacity = fitted(objects[rng.integers(len(objects))], round(SIDE * rng.uniform(*OBJECT)))
    if rng.random() < 0.5:
        small, opacity = small[:, ::-1], opacity[:, ::-1]
    height, width = opacity.shape
    top, left = int(rng.integers(SIDE - height + 1)), int(rng.integers(SIDE - width + 1))
    place = picture[top : top + height, left : left + width]
    mixed = place + opacity[..., None] * (small.astype(np.float32) - place)
    picture[top : top + height, left : left + width] = np.rint(mixed)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + height, left : left + width] = opacity > 0
    return picture, mask


def _scene(path: Path, rng: np.random.Generator) -> Pixels:
    """A random square crop of a scene, mirrored at random."""
    image = read_image(path.parent, path.name)
    side = int(min(image.shape[:2]) * rng.uniform(0.75, 1.0))
    top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
    crop = Image.fromarray(image[top : top + side, left : left + side])
    square = np.array(crop.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return square[:, ::-1].copy() if rng.random() < 0.5 else square


def _write(out: Path, name: str, image: Pixels, mask: npt.NDArray[np.bool_]) -> None:
    for folder in ("images", "masks"):
        (out / folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(out / "images" / f"{name}.jpg", quality=JPEG_QUALITY, subsampling=0)
    Image.fromarray(mask.astype(np.uint8) * 255).save(out / "masks" / f"{name}.png")


def _other(folder: Path) -> str:
    return "val" if (folder / "val").is_dir() else "test"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _without_fifth(items: Sequence[object]) -> list:  # type: ignore[type-arg]
    return [item for number, item in enumerate(items) if number % HELD_OUT]
