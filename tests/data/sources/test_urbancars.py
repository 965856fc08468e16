"""UrbanCars' layout: eight groups of two shortcuts, or one of them; masks beside the images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.backends.segmenters.given_masks import open_given_masks, survey
from ddb.config import DataConfig
from ddb.data.sources.load import load_dataset
from ddb.data.sources.urbancars import list_urbancars
from ddb.errors import DataError

Draw = Callable[..., Path]
SIDES = ("urban", "country")
TRAIN, EVALUATED = "bg-0.95_co_occur_obj-0.95/train", "bg-0.5_co_occur_obj-0.5"
SIZES = {0: 5, 1: 2, 2: 1}
"""Training images by the number of shortcuts that do not fit."""


def cars(root: Path, draw: Draw) -> Path:
    """The files that gen_urbancars.py writes: image and two masks; masks are RGB."""
    for label, place, thing in product(SIDES, repeat=3):
        group = f"obj-{label}_bg-{place}_co_occur_obj-{thing}"
        misfits = (place != label) + (thing != label)
        for split, count in ((TRAIN, SIZES[misfits]), (f"{EVALUATED}/val", 2), (f"{EVALUATED}/test", 3)):
            for number in range(count):
                folder = root / split / group
                draw(folder / f"{number:03d}.jpg", seed=number)
                for mask in ("mask", "co_occur_obj_mask"):
                    pixels = np.zeros((10, 12, 3), np.uint8)
                    pixels[2:6, 3:8] = 255
                    Image.fromarray(pixels).save(folder / f"{number:03d}_{mask}.png")
    return root


def counts(root: Path, attribute: str = "") -> dict[str, dict[tuple[str, str], int]]:
    dataset = load_dataset(DataConfig(source="urbancars", root=str(root), attribute=attribute))
    return {
        split: {(dataset.classes[g.label], dataset.attributes[g.attribute]): n for g, n in cells.items()}
        for split, cells in dataset.counts().items()
    }


def test_groups_hold_both_shortcuts(tmp_path: Path, draw: Draw) -> None:
    dataset = load_dataset(DataConfig(source="urbancars", root=str(cars(tmp_path, draw))))
    assert dataset.classes == SIDES
    assert dataset.attributes == (  # group_label "both": 2 x background + object
        "urban background and urban object",
        "urban background and country object",
        "country background and urban object",
        "country background and country object",
    )
    found = {split: list(cells.values()) for split, cells in dataset.counts().items()}
    assert found == {"train": [5, 2, 2, 1, 1, 2, 2, 5], "val": [2] * 8, "test": [3] * 8}
    assert not dataset.quarantined, "masks are no images"
    (note,) = dataset.notes
    assert note.startswith("warning: group counts differ from the published ones of UrbanCars: train 5/2/2/1/1/2/2/5 ")


@pytest.mark.parametrize(("attribute", "names"), [("background", "urban background"), ("object", "urban object")])
def test_one_of_the_shortcuts(tmp_path: Path, draw: Draw, attribute: str, names: str) -> None:
    found = counts(cars(tmp_path, draw), attribute)
    other = names.replace("urban", "country")
    assert found["train"] == {("urban", names): 7, ("urban", other): 3, ("country", names): 3, ("country", other): 7}


def test_the_masks_beside_the_images_are_given_masks(tmp_path: Path, draw: Draw) -> None:
    root = cars(tmp_path, draw)
    listing = list_urbancars(str(root))
    images = [entry.image for entry in listing.entries]
    found = survey(open_given_masks(str(root)), root, images, "car")
    assert found.usable == tuple(images) and not found.faults


def test_the_folder_above_is_read_too(tmp_path: Path, draw: Draw) -> None:
    cars(tmp_path / "urbancars", draw)
    assert list_urbancars(str(tmp_path)).root == tmp_path / "urbancars"


def test_what_is_wrong_is_told(tmp_path: Path, draw: Draw) -> None:
    with pytest.raises(DataError, match=r"is no UrbanCars folder: there should be folders such as bg-0\.95_co_occur"):
        list_urbancars(str(tmp_path))
    root = cars(tmp_path / "cars", draw)
    draw(root / TRAIN / "loose.jpg")
    draw(root / "bg-0.9_co_occur_obj-0.9" / "train" / "obj-urban_bg-urban_co_occur_obj-urban" / "000.jpg")
    listing = list_urbancars(str(root))
    assert [item.path for item in listing.quarantined] == [f"{TRAIN}/loose.jpg"]
    (fault,) = listing.faults
    assert fault.startswith("train images lie in bg-0.95_co_occur_obj-0.95 and in bg-0.9_co_occur_obj-0.9, which")
    for attribute in ("Male", "target"):
        with pytest.raises(ValueError, match=f"attribute '{attribute}' is unknown: use background or object"):
            DataConfig(source="urbancars", attribute=attribute)
