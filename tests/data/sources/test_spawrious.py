"""Spawrious' layout: which images a challenge takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources import spawrious
from ddb.data.sources.load import load_dataset
from ddb.data.sources.spawrious import CHALLENGES, CLASSES, PLACES, list_spawrious, parts
from ddb.errors import DataError

Draw = Callable[..., Path]


def dogs(root: Path, draw: Draw, folders: Iterable[Path] | None = None, count: int = 20) -> Path:
    """`count` images a folder, copies of one file, named as the authors name them."""
    one = draw(root.parent / "one.png")
    every = [Path(source, place, breed) for source in "01" for place in PLACES for breed in CLASSES]
    for folder in folders or every:
        home = root / "spawrious224" / folder
        home.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (home / f"{folder.parts[1]}_{folder.parts[2]}_{number:04d}.png").hardlink_to(one)
    return root


def test_one_to_one_shares_are_those_of_the_authors() -> None:
    """97% and 87% of 3168, rounded down; the rest in the shared place."""
    found = {(part.split, part.source, part.place): part.images for part in parts("o2o-hard") if part.breed == "corgi"}
    assert found == {
        ("train", "0", "desert"): 3072,
        ("train", "0", "beach"): 96,
        ("train", "1", "desert"): 2756,
        ("train", "1", "beach"): 412,
        ("test", "0", "jungle"): 3168,
        ("test", "1", "jungle"): 3168,
    }


def test_no_challenge_tests_a_breed_where_it_was_trained() -> None:
    for name in CHALLENGES:
        seen = {(part.breed, part.place) for part in parts(name) if part.split == "train"}
        held_out = {(part.breed, part.place) for part in parts(name) if part.split == "test"}
        assert not seen & held_out and {breed for breed, _ in held_out} == set(CLASSES)
        assert sum(part.images for part in parts(name) if part.split == "train") == 4 * 2 * 3168


def test_many_to_many_exchanges_the_places_of_two_pairs(tmp_path: Path, draw: Draw) -> None:
    listing = list_spawrious(str(dogs(tmp_path / "s", draw)), "m2m-hard")
    places = {
        split: {
            breed: {entry.attribute for entry in listing.entries if (entry.split, entry.label) == (split, breed)}
            for breed in CLASSES
        }
        for split in ("train", "test")
    }
    land, cold = {"dirt", "jungle"}, {"snow", "beach"}
    assert places["train"] == {"bulldog": land, "dachshund": land, "labrador": cold, "corgi": cold}
    assert places["test"] == {"bulldog": cold, "dachshund": cold, "labrador": land, "corgi": land}
    assert all(entry.image.startswith("0/") for entry in listing.entries)


def test_a_challenge_takes_the_first_images_by_name(
    tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawrious, "parts", lambda name, images=20: parts(name, images))
    root = dogs(tmp_path / "s", draw)
    listing = spawrious.list_spawrious(str(root), "o2o-easy")
    cells = Counter(
        (entry.split, entry.image[0], entry.attribute) for entry in listing.entries if entry.label == "corgi"
    )
    assert cells == {
        ("train", "0", "snow"): 19,
        ("train", "0", "beach"): 1,
        ("train", "1", "snow"): 17,
        ("train", "1", "beach"): 3,
        ("test", "0", "jungle"): 20,
        ("test", "1", "jungle"): 20,
    }
    assert "1/beach/corgi/beach_corgi_0002.png" in {entry.image for entry in listing.entries}
    assert "1/beach/corgi/beach_corgi_0003.png" not in {entry.image for entry in listing.entries}
    assert (listing.classes, listing.attributes) == (CLASSES, ("beach", "desert", "dirt", "jungle", "snow"))


def test_the_challenge_is_named_or_the_only_one(tmp_path: Path, draw: Draw) -> None:
    root = dogs(tmp_path / "all", draw)
    with pytest.raises(DataError, match=r"holds the images of o2o-easy, o2o-medium, .*name one \(--set data\.variant="):
        list_spawrious(str(root))
    alone = dogs(tmp_path / "one", draw, {part.folder for part in parts("o2o-hard")})
    dataset = load_dataset(DataConfig(source="spawrious", root=str(alone)))
    assert dataset.notes[0] == "the images are those of Spawrious o2o-hard (data.variant)"
    assert dataset.notes[1].startswith("warning: group counts differ from the published ones of Spawrious o2o-hard")
    assert dataset.notes[2].startswith("the data has no validation split: it is 15% of the training images")
    assert load_dataset(DataConfig(source="spawrious", root=str(alone / "spawrious224"))).fingerprint == (
        dataset.fingerprint
    )
    with pytest.raises(DataError, match=r"the images of o2o-medium are missing in 0/desert/bulldog, "):
        list_spawrious(str(alone), "o2o-medium")
    with pytest.raises(DataError, match="is no Spawrious folder"):
        list_spawrious(str(tmp_path))
