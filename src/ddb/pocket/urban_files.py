"""The world urban on disk, in the layout of UrbanCars.

    OUT/bg-0.95_co_occur_obj-0.95/train/obj-landbird_bg-forest_co_occur_obj-bench/00001.png
    OUT/bg-0.5_co_occur_obj-0.5/{val,test}/...

The numbers are the shares of images whose surroundings and whose thing fit their class. Images are PNG (JPEG artefacts
would extend beyond the bird); their masks lie in OUT/masks, not beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ddb.pocket.miniatures import MINIATURES, Item

CLASSES = MINIATURES["urban"].plans


def name(item: Item) -> str:
    surroundings, thing = item.split.shares
    cell = item.cell
    group = f"obj-{CLASSES[cell.label]}_bg-{cell.place}_co_occur_obj-{cell.thing}"
    return f"bg-{surroundings}_co_occur_obj-{thing}/{item.split.name}/{group}/{item.number:05d}.png"


def write_lists(out: Path, drawn: Sequence[Item]) -> None:
    """Nothing: the folders say it all."""
