"""MetaShift's cats and dogs in both published forms."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.load import load_dataset
from ddb.data.sources.metashift import list_metashift
from ddb.data.table import Dataset
from ddb.errors import DataError

Draw = Callable[..., Path]
ANIMALS = ("cat", "dog")


def config(root: Path, **settings: object) -> DataConfig:
    return DataConfig.model_validate({"source": "metashift", "root": str(root), **settings})


def groups(dataset: Dataset, split: str) -> dict[str, int]:
    return {
        f"{dataset.classes[group.label]}({dataset.attributes[group.attribute]})": n
        for group, n in dataset.counts()[split].items()
    }


class Copies:
    """Many images that are one file: enough for counting."""

    def __init__(self, draw: Draw, root: Path) -> None:
        self.root, self.first, self.number = root, draw(root.parent / "one.jpg"), 0

    def into(self, folder: str, count: int) -> list[str]:
        """Names (without suffix) of `count` new images in `folder`."""
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        names = [str(2_300_000 + self.number + n) for n in range(count)]
        for name in names:
            (self.root / folder / f"{name}.jpg").hardlink_to(self.first)
        self.number += count
        return names


def mixed(root: Path, draw: Draw, train: tuple[int, int] = (6, 2), test: int = 3) -> dict[str, list[str]]:
    """The folder of the subpopulation shift script: {group: image ids}; the usual place has `train[0]` images."""
    copies, held = Copies(draw, root), {}
    for animal, usual in zip(ANIMALS, ("indoor", "outdoor"), strict=True):
        for place in ("indoor", "outdoor"):
            names = copies.into(f"train/{animal}", train[place != usual])
            held[f"{animal}({place})"] = names + copies.into(f"val_out_of_domain/{animal}", test)
    return held


def by_image(held: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: [group] for group, names in held.items() for name in names}


@pytest.mark.parametrize("form", ["pkl by image", "pkl by group", "json by image", "json by group"])
def test_indoor_and_outdoor_with_a_group_file(tmp_path: Path, draw: Draw, form: str) -> None:
    root = tmp_path / "MetaShift-subpopulation-shift"
    held = mixed(root, draw)
    content = by_image(held) if form.endswith("image") else held
    data = pickle.dumps(content) if form.startswith("pkl") else json.dumps(content).encode()
    (root / f"imageID_to_group.{form.split()[0]}").write_bytes(data)
    dataset = load_dataset(config(root, val_share=0.25))
    assert dataset.classes == ANIMALS and dataset.attributes == ("indoor", "outdoor")
    assert groups(dataset, "test") == dict.fromkeys(held, 3)
    train, val = Counter(groups(dataset, "train")), Counter(groups(dataset, "val"))
    assert train + val == Counter({"cat(indoor)": 6, "cat(outdoor)": 2, "dog(indoor)": 2, "dog(outdoor)": 6})
    assert sum(val.values()) == 4  # a quarter of each class, by seed
    warning, made = dataset.notes
    assert "differ from the published ones of MetaShift" in warning and "train 6/2/2/6 instead of 750/" in warning
    assert made.startswith("the data has no validation split: it is 25% of the training images")


@pytest.mark.slow
def test_the_published_counts_of_the_mixed_form(tmp_path: Path, draw: Draw) -> None:
    root = tmp_path / "m"
    held = mixed(root, draw, (750, 100), 144)
    (root / "imageID_to_group.pkl").write_bytes(pickle.dumps(by_image(held)))
    dataset = load_dataset(config(root))
    assert dataset.notes[0] == "group counts equal the published ones of MetaShift (cats and dogs, indoor and outdoor)"


def test_images_that_the_group_file_does_not_name_are_set_aside(tmp_path: Path, draw: Draw) -> None:
    root = tmp_path / "m"
    held = mixed(root, draw)
    gone = held["cat(indoor)"].pop()
    (root / "imageID_to_group.json").write_text(json.dumps(by_image(held)))
    (item,) = load_dataset(config(root)).quarantined
    assert gone in item.path and item.reason == "imageID_to_group.json names no cat context for it"


def test_an_image_in_groups_of_both_animals_keeps_its_own(tmp_path: Path, draw: Draw) -> None:
    root = tmp_path / "m"
    held = by_image(mixed(root, draw))
    both = {name: [*groups_, "dog(indoor)" if "cat" in groups_[0] else "cat(indoor)"] for name, groups_ in held.items()}
    (root / "imageID_to_group.json").write_text(json.dumps(both))
    assert groups(load_dataset(config(root)), "test") == dict.fromkeys(
        ("cat(indoor)", "cat(outdoor)", "dog(indoor)", "dog(outdoor)"), 3
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "should hold a dict of image ids"),
        (b"{", "is not JSON"),
        (b'{"1": ["cat"]}', r"group 'cat' is not written as cat\(indoor\)"),
    ],
)
def test_bad_group_files(tmp_path: Path, draw: Draw, content: bytes, message: str) -> None:
    mixed(tmp_path / "m", draw)
    (tmp_path / "m" / "imageID_to_group.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset(config(tmp_path / "m"))


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, draw: Draw) -> None:
    mixed(tmp_path / "m", draw)
    (tmp_path / "m" / "imageID_to_group.pkl").write_bytes(b"cos\nsystem\n(S'touch was_here'\ntR.")
    with pytest.raises(DataError, match=r"imageID_to_group\.pkl asks Python for os\.system: it may run code"):
        load_dataset(config(tmp_path / "m"))


def test_links_to_the_images_of_visual_genome_are_refused_with_the_remedy(tmp_path: Path, draw: Draw) -> None:
    root = tmp_path / "m"
    held = mixed(root, draw)
    (root / "imageID_to_group.json").write_text(json.dumps(by_image(held)))
    for path in root.glob("train/cat/*.jpg"):
        path.unlink()
        path.symlink_to(tmp_path / "one.jpg")
    with pytest.raises(
        DataError, match=r"(.|\n)*cat/2300000\.jpg' leads out of the data folder through a link: .* \(cp -rL\)"
    ):
        load_dataset(config(root))


TRAIN = {"cat": {"sofa": 5, "bed": 7}, "dog": {"cabinet": 4, "bed": 4, "bag": 4, "box": 4, "bench": 3, "bike": 6}}


def contexts(root: Path, draw: Draw, train: dict[str, dict[str, int]], test: dict[str, dict[str, int]]) -> Path:
    copies = Copies(draw, root)
    for split, animals in (("train", train), ("test", test)):
        for animal, places in animals.items():
            for place, count in places.items():
                copies.into(f"{split}/{animal}/{animal}({place})", count)
    return root


def test_contexts_in_folders_as_disc_reads_them(tmp_path: Path, draw: Draw) -> None:
    root = contexts(tmp_path / "MetaDatasetCatDog", draw, TRAIN, {"cat": {"shelf": 20}, "dog": {"shelf": 40}})
    dataset = load_dataset(config(root, val_from="test", split_seed=3))
    assert dataset.classes == ANIMALS and dataset.attributes == ("bed", "sofa", "bench", "bike", "shelf")
    assert groups(dataset, "train") == {"cat(bed)": 7, "cat(sofa)": 5, "dog(bench)": 3, "dog(bike)": 6}
    assert groups(dataset, "val") == {"cat(shelf)": 3, "dog(shelf)": 6}  # 15% of 20 and of 40
    assert groups(dataset, "test") == {"cat(shelf)": 17, "dog(shelf)": 34}
    assert dataset.notes[0] == "training dogs are those with bench and bike, as DISC takes them (data.variant)"
    assert dataset.notes[1].startswith("warning: group counts differ from the published ones of MetaShift")
    assert "15% of the test images of each class, drawn with data.split_seed 3" in dataset.notes[2]


def test_other_dogs_and_validation_images_from_training(tmp_path: Path, draw: Draw) -> None:
    root = contexts(tmp_path / "m", draw, TRAIN, {"cat": {"shelf": 4}, "dog": {"shelf": 4}})
    dataset = load_dataset(config(root, variant="cabinet-bed"))
    assert dataset.attributes == ("bed", "sofa", "cabinet", "shelf")  # the bed is shared: one context
    train, val = Counter(groups(dataset, "train")), Counter(groups(dataset, "val"))
    assert train + val == Counter({"cat(bed)": 7, "cat(sofa)": 5, "dog(bed)": 4, "dog(cabinet)": 4})
    assert groups(dataset, "test") == {"cat(shelf)": 4, "dog(shelf)": 4}
    with pytest.raises(
        DataError, match=r"data\.variant 'boat-surfboard': .*train/dog holds bag, bed, bench, bike, box"
    ):
        load_dataset(config(root, variant="boat-surfboard"))


def test_the_published_counts_of_disc(tmp_path: Path, draw: Draw) -> None:
    train = {"cat": {"sofa": 231, "bed": 380}, "dog": {"bench": 145, "bike": 367}}
    root = contexts(tmp_path / "m", draw, train, {"cat": {"shelf": 235}, "dog": {"shelf": 306}})
    dataset = load_dataset(config(root, val_from="test"))
    assert any(note.startswith("group counts equal the published ones of MetaShift") for note in dataset.notes)
    assert abs(groups(dataset, "val")["cat(shelf)"] - 34) <= 1 and abs(groups(dataset, "val")["dog(shelf)"] - 47) <= 1


def test_subpopbenchs_tarball_pooled_and_not(tmp_path: Path, draw: Draw) -> None:
    root = contexts(
        tmp_path / "m",
        draw,
        {"cat": {"indoor": 40}, "dog": {"outdoor": 40}},
        {"cat": {"outdoor": 20}, "dog": {"indoor": 20}},
    )
    folders = load_dataset(config(root))
    assert folders.attributes == ("indoor", "outdoor") and set(groups(folders, "test")) == {
        "cat(outdoor)",
        "dog(indoor)",
    }
    pooled = load_dataset(config(root, variant="pooled", test_share=0.25, val_share=0.1))
    assert {split: sum(cells.values()) for split, cells in pooled.counts().items()} == {
        "train": 78,
        "val": 12,
        "test": 30,
    }
    assert len(groups(pooled, "train")) == 4 and "the folders' splits are pooled" in pooled.notes[0]


def test_folders_that_are_no_metashift(folder: Path, draw: Draw) -> None:
    with pytest.raises(DataError, match=r"is no MetaShift folder: there should be imageID_to_group\.pkl or"):
        load_dataset(config(folder))
    root = contexts(folder.parent / "m", draw, {"cat": {"sofa": 4}, "dog": {"bench": 4}}, {"cat": {"shelf": 2}})
    draw(root / "train" / "cat" / "loose.jpg")
    draw(root / "train" / "cat" / "dog(bike)" / "1.jpg")
    listing = list_metashift(str(root))
    assert {item.reason for item in listing.quarantined} == {"lies in no folder such as cat(sofa)"}
    (root / "imageID_to_group.json").write_text("{}")
    with pytest.raises(DataError, match="data.variant 'bag-box' is for contexts in folders"):
        list_metashift(str(root), "bag-box")
