"""Splits made by seed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ddb.data.sources.layout.listing import Entry
from ddb.data.sources.layout.splits import make_splits

SHARES = {"val": 0.15, "test": 0.2}


def entries(sizes: dict[str, int]) -> list[Entry]:
    return [Entry(f"{label}/{n}.png", label) for label, size in sizes.items() for n in range(size)]


def test_shares_hold_within_each_class() -> None:
    made = make_splits(entries({"a": 1000, "b": 40}), {"val", "test"}, SHARES, 0, 2)
    counts = Counter((entry.label, entry.split) for entry in made)
    assert counts == {
        ("a", "train"): 650,
        ("a", "val"): 150,
        ("a", "test"): 200,
        ("b", "train"): 26,
        ("b", "val"): 6,
        ("b", "test"): 8,
    }


def test_given_splits_stay_and_only_the_missing_one_is_taken_from_training() -> None:
    given_ = [Entry(f"{n}.png", "a", split="test" if n < 10 else "train") for n in range(50)]
    made = make_splits(given_, {"val"}, SHARES, 0, 2)
    assert [entry.split for entry in made[:10]] == ["test"] * 10
    assert Counter(entry.split for entry in made[10:]) == {"train": 34, "val": 6}


@given(st.integers(0, 60), st.integers(0, 3))
def test_every_image_is_placed_once_and_training_is_never_emptied(size: int, seed: int) -> None:
    made = make_splits(entries({"a": size}), {"val", "test"}, SHARES, seed, 2)
    counts = Counter(entry.split for entry in made)
    assert sum(counts.values()) == size and counts["train"] >= min(size, 2)
    if size >= 4:
        assert counts["val"] >= 1 and counts["test"] >= 1


def test_order_does_not_matter_and_new_images_move_few() -> None:
    first = {e.image: e.split for e in make_splits(entries({"a": 200}), {"val", "test"}, SHARES, 7, 2)}
    turned = make_splits(entries({"a": 200})[::-1], {"val", "test"}, SHARES, 7, 2)
    assert {e.image: e.split for e in turned} == first
    more = {e.image: e.split for e in make_splits(entries({"a": 210}), {"val", "test"}, SHARES, 7, 2)}
    assert sum(more[image] != split for image, split in first.items()) <= 15
    other = {e.image: e.split for e in make_splits(entries({"a": 200}), {"val", "test"}, SHARES, 8, 2)}
    assert sum(other[image] != split for image, split in first.items()) > 50
