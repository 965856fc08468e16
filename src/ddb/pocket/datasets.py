"""The miniatures as data sets on disk, each in the layout of the real data set and read by its reader.

OUT/...              images and lists: waterbirds_files.py, metashift_files.py, celeba_files.py, urban_files.py
OUT/masks/...        the images' causal masks under the same paths, 255 = object: usable as given masks
OUT/scenes.json      what each image shows, so that `oracle` can draw its true counterfactual
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddb.config import PocketConfig
from ddb.data.images import mask_png, png_bytes
from ddb.errors import DataError
from ddb.pocket import celeba_files, metashift_files, urban_files, waterbirds_files
from ddb.pocket.beside import Beside
from ddb.pocket.miniatures import Item, Split, familiar, items, splits
from ddb.pocket.world import FAMILIES, Picture, Scene, counterfactual_scene, render

SCENES = "scenes.json"


@dataclass(frozen=True)
class Layout:
    """`name`: path of an image in the folder. `write_lists`: writes the files that list images and groups."""

    name: Callable[[Item], str]
    write_lists: Callable[[Path, Sequence[Item]], None]


LAYOUTS: dict[str, Layout] = {
    "waterbirds": Layout(waterbirds_files.name, waterbirds_files.write_lists),
    "metashift": Layout(metashift_files.name, metashift_files.write_lists),
    "celeba": Layout(celeba_files.name, celeba_files.write_lists),
    "urban": Layout(urban_files.name, urban_files.write_lists),
}
"""By `data.pocket.world`."""


def write_pocket(out: Path, config: PocketConfig) -> Path:
    """Draw the training, validation and test images into the new folder `out` and return it.

    Groups: `miniatures.splits`. The folder appears when it is complete, never before. DataError if it already holds
    files.
    """
    return _write(out, config, splits(config))


def write_in_distribution(out: Path, config: PocketConfig, count: int) -> Path:
    """Draw `count` unseen images with the training split's group shares into `out`, as a test split; return `out`."""
    return _write(out, config, [familiar(config, count)])


def read_scenes(root: Path) -> dict[str, Scene]:
    """Scenes of a folder that this module wrote, by path in it. DataError if there are none."""
    path = root / SCENES
    if not path.is_file():
        raise DataError(f"{path} is missing: write the folder again with `ddb pocket write`")
    return {name: _scene(row) for name, row in json.loads(path.read_text(encoding="utf-8")).items()}


def oracle(scene: Scene, plan: str, seed: int) -> Picture:
    """The true counterfactual of an image: the same place, light and position with a new object of body plan `plan`
    (`Miniature.plans`)."""
    return render(counterfactual_scene(scene, np.random.default_rng(seed), plan))


def _write(out: Path, config: PocketConfig, drawn: Sequence[Split]) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} already exists: name a new folder, or delete it first")
    draft = out.parent / f".{out.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _draw(draft, list(items(drawn, config)), LAYOUTS[config.world])
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    return out


def _draw(out: Path, drawn: Sequence[Item], layout: Layout) -> None:
    names = [layout.name(item) for item in drawn]
    for folder in {(root / name).parent for name in names for root in (out, out / "masks")}:
        folder.mkdir(parents=True, exist_ok=True)

    def draw(name: str, item: Item) -> None:
        picture = render(item.scene)
        (out / name).write_bytes(png_bytes(picture.image))
        (out / "masks" / name).write_bytes(mask_png(picture.mask))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw, names, drawn))  # raises what drawing raises
    layout.write_lists(out, drawn)
    scenes = {name: _row(item.scene) for name, item in zip(names, drawn, strict=True)}
    (out / SCENES).write_text(json.dumps(scenes), encoding="utf-8")


def _row(scene: Scene) -> dict[str, Any]:
    """Scenes without a thing keep the form that they had before there were any: the same bytes."""
    row = asdict(scene)
    if scene.beside is None:
        del row["beside"]
    return row


def _scene(row: dict[str, Any]) -> Scene:
    subject = None if row["subject"] is None else FAMILIES[row["family"]].kind(**_with_tuples(row["subject"]))
    thing = Beside(**row["beside"]) if row.get("beside") else None
    return Scene(**{**_with_tuples(row), "subject": subject, "beside": thing})


def _with_tuples(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
