"""The miniature of MetaShift in the real layout (subpopulation shift, indoor and outdoor)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ddb.data.sources.metashift import list_metashift
from ddb.pocket import things
from ddb.pocket.datasets import read_scenes, write_in_distribution
from small_worlds import small


def test_folders_and_group_file_are_those_of_the_published_form(drawn: Callable[[str], Path]) -> None:
    folder = drawn("metashift")
    assert sorted(path.name for path in folder.iterdir()) == [
        "imageID_to_group.json", "masks", "scenes.json", "train", "val", "val_out_of_domain",
    ]  # fmt: skip
    groups = json.loads((folder / "imageID_to_group.json").read_text())
    paths = [path for split in ("train", "val", "val_out_of_domain") for path in (folder / split).glob("*/*.png")]
    assert sorted(path.stem for path in paths) == sorted(groups) == [f"{n:07d}" for n in range(1, 157)]
    scenes = read_scenes(folder)
    for path in paths:
        scene = scenes[path.relative_to(folder).as_posix()]
        place = "indoor" if scene.place in things.INDOOR else "outdoor"
        animal = "dog" if scene.subject is not None and scene.subject.ears_hang else "cat"
        assert groups[path.stem] == [f"{animal}({place})"] and path.parent.name == animal


def test_the_reader_finds_every_image_and_the_validation_split(drawn: Callable[[str], Path]) -> None:
    listing = list_metashift(str(drawn("metashift")))
    assert not listing.faults and not listing.quarantined and not listing.notes
    assert (listing.classes, listing.attributes) == (("cat", "dog"), ("indoor", "outdoor"))
    cells = Counter((entry.split, entry.label, entry.attribute) for entry in listing.entries)
    assert [cells["train", *cell] for cell in (("cat", "indoor"), ("cat", "outdoor"), ("dog", "indoor"))] == [53, 7, 7]
    assert {n for (split, _, _), n in cells.items() if split == "val"} == {3}
    assert {n for (split, _, _), n in cells.items() if split == "test"} == {6}


def test_a_folder_of_test_images_alone_is_read_as_such(tmp_path: Path) -> None:
    listing = list_metashift(str(write_in_distribution(tmp_path / "new", small("metashift"), 34)))
    assert not listing.faults and {entry.split for entry in listing.entries} == {"test"}
    cells = Counter((entry.label, entry.attribute) for entry in listing.entries)
    assert cells == {("cat", "indoor"): 15, ("cat", "outdoor"): 2, ("dog", "outdoor"): 15, ("dog", "indoor"): 2}
