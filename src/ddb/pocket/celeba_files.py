"""The miniature of CelebA on disk, in the layout of Kaggle's copy.

    OUT/img_align_celeba/000001.png   images, 64x64, numbered through the splits as in CelebA
    OUT/list_attr_celeba.csv          image_id and the attributes of `attributes`, -1/1
    OUT/list_eval_partition.csv       image_id, partition: 0 train, 1 val, 2 test

The images are PNG, as in CelebA's own `img_align_celeba_png`: JPEG artefacts would extend beyond the hair, and an image
would not equal its rendered scene. Attributes have CelebA's names where these fit the drawn ones; Male is the square
face.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ddb.pocket.hair import BLOND
from ddb.pocket.miniatures import Item
from ddb.records import SPLITS

FOLDER = "img_align_celeba"


def name(item: Item) -> str:
    return f"{FOLDER}/{_image(item)}"


def attributes(item: Item) -> dict[str, bool]:
    """The attributes of an image, with CelebA's names and in its order. Auburn hair has no name there."""
    hair: Any = item.scene.subject
    square = item.cell.attribute == 1
    return {
        "Bangs": hair.has_fringe,
        "Black_Hair": hair.colour == "black",
        "Blond_Hair": hair.colour in BLOND,
        "Brown_Hair": hair.colour == "brown",
        "Bushy_Eyebrows": square,
        "Gray_Hair": hair.colour == "grey",
        "Male": square,
        "No_Beard": not square,
        "Straight_Hair": not hair.is_wavy,
        "Wavy_Hair": hair.is_wavy,
        "Wearing_Lipstick": not square,
    }


def write_lists(out: Path, drawn: Sequence[Item]) -> None:
    """list_attr_celeba.csv and list_eval_partition.csv."""
    shown = [attributes(item) for item in drawn]
    rows = (
        (_image(item), *(1 if value else -1 for value in row.values())) for item, row in zip(drawn, shown, strict=True)
    )
    _write(out / "list_attr_celeba.csv", ("image_id", *shown[0]), rows)
    parts = ((_image(item), SPLITS.index(item.split.name)) for item in drawn)
    _write(out / "list_eval_partition.csv", ("image_id", "partition"), parts)


def _image(item: Item) -> str:
    return f"{item.id:06d}.png"


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
