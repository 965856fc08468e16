"""The pocket world as a data set on disk, in the layout of the real Waterbirds.

    OUT/metadata.csv                 img_id, img_filename, y, split, place, place_filename
    OUT/001.landbird/train_00001.png images, 64x64
    OUT/masks/001.landbird/...png    their causal masks, 255 = bird: usable as given masks
    OUT/scenes.json                  what each image shows, so that `oracle` can draw its true counterfactual

y: 0 landbird, 1 waterbird. place: 0 land (forest), 1 water (lake). split: 0 train, 1 val, 2 test.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddb.config import PocketConfig
from ddb.data.images import mask_png, png_bytes
from ddb.errors import DataError
from ddb.pocket.world import FAMILIES, Picture, Scene, counterfactual_scene, render, sample_scene

CLASSES = ("landbird", "waterbird")
ATTRIBUTES = ("land", "water")
FOLDERS = ("001.landbird", "002.waterbird")
METADATA = ("img_id", "img_filename", "y", "split", "place", "place_filename")
_PLACES = ("forest", "lake")


@dataclass(frozen=True)
class _Split:
    """Images to draw: `code` is the value in metadata.csv; `stream` keeps the random draws of the splits apart."""

    name: str
    code: int
    stream: int
    count: int
    correlation: float


def write_pocket_waterbirds(out: Path, config: PocketConfig) -> Path:
    """Draw the training, validation and test images into the new folder `out` and return it.

    Training follows `config.correlation`; validation and test have each place for half of each class. The folder
    appears when it is complete, never before. DataError if it already holds files.
    """
    return _write(
        out,
        config,
        [
            _Split("train", 0, 0, config.train, config.correlation),
            _Split("val", 1, 1, config.val, 0.5),
            _Split("test", 2, 2, config.test, 0.5),
        ],
    )


def write_in_distribution(out: Path, config: PocketConfig, count: int) -> Path:
    """Draw `count` unseen images with the training split's group shares into `out`, as a test split; return `out`."""
    return _write(out, config, [_Split("familiar", 2, 3, count, config.correlation)])


def read_scenes(root: Path) -> dict[str, Scene]:
    """Scenes of a folder that this module wrote, by img_filename. DataError if there are none."""
    path = root / "scenes.json"
    if not path.is_file():
        raise DataError(f"{path} is missing: write the folder again with `ddb pocket write`")
    return {name: _scene(row) for name, row in json.loads(path.read_text(encoding="utf-8")).items()}


def oracle(scene: Scene, plan: str, seed: int) -> Picture:
    """The true counterfactual of an image: the same place, light and position with a new bird of body plan `plan`."""
    return render(counterfactual_scene(scene, np.random.default_rng(seed), plan))


def group_plan(count: int, waterbirds: float, correlation: float) -> list[tuple[int, int]]:
    """(y, place) of `count` images, in order of groups, each group's size rounded to the nearest whole number."""
    water = round(count * waterbirds)
    cells: list[tuple[int, int]] = []
    for y, size in ((0, count - water), (1, water)):
        fitting = round(size * correlation)
        cells += [(y, y)] * fitting + [(y, 1 - y)] * (size - fitting)
    return cells


def _write(out: Path, config: PocketConfig, splits: Sequence[_Split]) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} already exists: name a new folder, or delete it first")
    draft = out.parent / f".{out.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _draw(draft, config, splits)
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    return out


def _draw(out: Path, config: PocketConfig, splits: Sequence[_Split]) -> None:
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True)
        (out / "masks" / folder).mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    scenes: dict[str, Any] = {}
    for split in splits:
        for name, y, place, scene in _sample(split, config):
            picture = render(scene)
            (out / name).write_bytes(png_bytes(picture.image))
            (out / "masks" / name).write_bytes(mask_png(picture.mask))
            scenes[name] = asdict(scene)
            place_file = f"{scene.place}/{scene.place_seed:010d}"
            rows.append(dict(zip(METADATA, (len(rows) + 1, name, y, split.code, place, place_file), strict=True)))
    with (out / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, METADATA)
        writer.writeheader()
        writer.writerows(rows)
    (out / "scenes.json").write_text(json.dumps(scenes), encoding="utf-8")


def _sample(split: _Split, config: PocketConfig) -> Iterator[tuple[str, int, int, Scene]]:
    """(img_filename, y, place, scene) of every image of a split, groups mixed."""
    cells = group_plan(split.count, config.waterbirds, split.correlation)
    order = np.random.default_rng([config.seed, split.stream, 0]).permutation(len(cells))
    for number, cell in enumerate(order, start=1):
        y, place = cells[cell]
        rng = np.random.default_rng([config.seed, split.stream, number])
        scene = sample_scene(rng, plan=CLASSES[y], place=_PLACES[place])
        yield f"{FOLDERS[y]}/{split.name}_{number:05d}.png", y, place, scene


def _scene(row: dict[str, Any]) -> Scene:
    subject = None if row["subject"] is None else FAMILIES[row["family"]].kind(**row["subject"])
    tuples = {"position": tuple(row["position"]), "gain": tuple(row["gain"])}
    return Scene(**{**row, "subject": subject, **tuples})
