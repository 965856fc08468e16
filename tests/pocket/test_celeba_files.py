"""The miniature of CelebA in the real layout."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddb.data.sources.celeba import list_celeba
from ddb.pocket.datasets import read_scenes

NAMES = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry
Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
Wearing_Necktie Young
"""
"""The 40 attributes of the published list, in its order."""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_attributes_bear_the_published_names_and_tell_what_is_drawn(drawn: Callable[[str], Path]) -> None:
    folder = drawn("celeba")
    listed = rows(folder / "list_attr_celeba.csv")
    names = list(listed[0])[1:]
    assert names == [name for name in NAMES.split() if name in names] and {
        "Blond_Hair",
        "Male",
        "Wavy_Hair",
        "Bangs",
    } <= set(names)
    scenes = read_scenes(folder)
    for row in listed:
        scene = scenes[f"img_align_celeba/{row['image_id']}"]
        assert scene.subject is not None
        drawn_so = {
            "Blond_Hair": scene.subject.colour == "golden",
            "Black_Hair": scene.subject.colour == "black",
            "Wavy_Hair": scene.subject.is_wavy,
            "Bangs": scene.subject.has_fringe,
            "Male": scene.place == "square face",
            "No_Beard": scene.place == "round face",
        }
        assert {name: int(row[name]) for name in drawn_so} == {name: 1 if so else -1 for name, so in drawn_so.items()}
    colours = np.array([[int(row[f"{c}_Hair"]) for c in ("Black", "Blond", "Brown", "Gray")] for row in listed])
    assert set((colours == 1).sum(axis=1)) == {0, 1}, "auburn has no name"


def test_images_are_numbered_through_the_splits(drawn: Callable[[str], Path]) -> None:
    parts = rows(drawn("celeba") / "list_eval_partition.csv")
    assert [row["image_id"] for row in parts] == [f"{n:06d}.png" for n in range(1, 157)]
    assert [row["partition"] for row in parts] == ["0"] * 120 + ["1"] * 12 + ["2"] * 24


def test_files_are_what_their_names_say(drawn: Callable[[str], Path]) -> None:
    files = list((drawn("celeba") / "img_align_celeba").iterdir())
    assert len(files) == 156
    assert all(path.suffix == ".png" and path.read_bytes().startswith(b"\x89PNG") for path in files)


def test_the_reader_finds_every_image(drawn: Callable[[str], Path]) -> None:
    listing = list_celeba(str(drawn("celeba")))
    assert not listing.faults and not listing.notes
    cells = Counter((entry.split, entry.label, entry.attribute) for entry in listing.entries)
    assert {n for (split, _, _), n in cells.items() if split == "test"} == {6}
    assert (cells["train", "blond", "female"], cells["train", "blond", "male"]) == (17, 1)
    assert listing.entries[0].image == "img_align_celeba/000001.png"


@pytest.mark.parametrize(("target", "attribute"), [("Wavy_Hair", "Male"), ("Male", "Blond_Hair")])
def test_other_attributes_serve_as_label(drawn: Callable[[str], Path], target: str, attribute: str) -> None:
    listing = list_celeba(str(drawn("celeba")), target, attribute)
    assert not listing.faults and {entry.split for entry in listing.entries} == {"train", "val", "test"}
