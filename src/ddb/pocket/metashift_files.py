"""The miniature of MetaShift's cats and dogs on disk, in the layout of `MetaShift-subpopulation-shift`.

    OUT/train/cat/0000001.png             images, 64x64, named by their number in the folder
    OUT/val/{cat,dog}/...                 validation images, which the published form lacks
    OUT/val_out_of_domain/{cat,dog}/...   test images
    OUT/imageID_to_group.json             {"0000001": ["cat(indoor)"]}; a pickle in the published form

Which of the three indoor or outdoor things an image shows stands in scenes.json alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ddb.pocket.miniatures import MINIATURES, Item

CLASSES = MINIATURES["metashift"].plans
CONTEXTS = ("indoor", "outdoor")
FOLDERS = {"train": "train", "val": "val", "test": "val_out_of_domain"}


def name(item: Item) -> str:
    return f"{FOLDERS[item.split.name]}/{CLASSES[item.cell.label]}/{item.id:07d}.png"


def write_lists(out: Path, drawn: Sequence[Item]) -> None:
    """imageID_to_group.json; also the training folders where no image is in them: they make it a layout of splits."""
    groups = {f"{item.id:07d}": [f"{CLASSES[item.cell.label]}({CONTEXTS[item.cell.attribute]})"] for item in drawn}
    (out / "imageID_to_group.json").write_text(json.dumps(groups), encoding="utf-8")
    for label in CLASSES:
        (out / FOLDERS["train"] / label).mkdir(parents=True, exist_ok=True)
