"""The miniature of Waterbirds on disk, in the layout of the real one.

    OUT/metadata.csv                 img_id, img_filename, y, split, place, place_filename
    OUT/001.landbird/train_00001.png images, 64x64

y: 0 landbird, 1 waterbird. place: 0 land (forest), 1 water (lake). split: 0 train, 1 val, 2 test.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ddb.pocket.miniatures import Item
from ddb.records import SPLITS

FOLDERS = ("001.landbird", "002.waterbird")
METADATA = ("img_id", "img_filename", "y", "split", "place", "place_filename")


def name(item: Item) -> str:
    return f"{FOLDERS[item.cell.label]}/{item.split.stem}_{item.number:05d}.png"


def write_lists(out: Path, drawn: Sequence[Item]) -> None:
    """metadata.csv."""
    with (out / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(METADATA)
        for item in drawn:
            split, place = SPLITS.index(item.split.name), f"{item.scene.place}/{item.scene.place_seed:010d}"
            writer.writerow((item.id, name(item), item.cell.label, split, item.cell.attribute, place))
