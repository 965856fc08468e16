"""Sizes of the groups against the published ones, and what their images show."""

from __future__ import annotations

from collections import Counter

import pytest

from ddb.config import PocketConfig
from ddb.data.sources.published_counts import PUBLISHED
from ddb.pocket.miniatures import MINIATURES, Split, familiar, items, splits
from small_worlds import small


def groups(split: Split) -> dict[tuple[int, int], int]:
    return dict(Counter((cell.label, cell.attribute) for cell in split.cells))


def sizes(config: PocketConfig) -> dict[str, dict[tuple[int, int], int]]:
    return {split.name: groups(split) for split in splits(config)}


def test_waterbirds_has_the_shares_of_the_benchmark() -> None:
    found = sizes(PocketConfig())
    assert found["train"] == {(0, 0): 1778, (0, 1): 94, (1, 1): 502, (1, 0): 26}
    assert found["test"] == {(0, 0): 780, (0, 1): 780, (1, 1): 220, (1, 0): 220}


def test_metashift_has_the_published_groups_and_a_validation_split_of_its_own() -> None:
    found = sizes(PocketConfig.model_validate({"world": "metashift"}))
    published = PUBLISHED["metashift-indoor-outdoor"].counts
    codes = {
        (label, place): (i, j)
        for i, label in enumerate(("cat", "dog"))
        for j, place in enumerate(("indoor", "outdoor"))
    }
    for split in ("train", "test"):
        assert found[split] == {codes[cell]: count for cell, count in published[split].items()}
    assert found["val"] == dict.fromkeys(codes.values(), 50)


def test_celeba_has_the_published_shares_and_balanced_groups_to_choose_and_test_on() -> None:
    found = sizes(PocketConfig.model_validate({"world": "celeba"}))
    published = PUBLISHED["celeba"].counts["train"]
    for cell, count in zip(((0, 0), (0, 1), (1, 0), (1, 1)), published.values(), strict=True):
        assert abs(found["train"][cell] - 3000 * count / 162770) <= 1
    assert set(found["val"].values()) == {150} and set(found["test"].values()) == {500}


def test_urban_has_two_independent_shortcuts_and_eight_equal_groups_to_choose_and_test_on() -> None:
    """Shares 0.95 x 0.95, 0.95 x 0.05, 0.05 x 0.95 and 0.05 x 0.05 of 1200 images of each class."""
    found = sizes(PocketConfig.model_validate({"world": "urban"}))
    assert [found["train"][0, attribute] for attribute in range(4)] == [1083, 57, 57, 3]
    assert [found["train"][1, attribute] for attribute in range(4)] == [3, 57, 57, 1083]
    every = {(label, attribute) for label in (0, 1) for attribute in range(4)}
    assert found["val"] == dict.fromkeys(every, 75) and found["test"] == dict.fromkeys(every, 250)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"world": "metashift", "train": 400, "correlation": 0.5},
            {(0, 0): 100, (0, 1): 100, (1, 1): 100, (1, 0): 100},
        ),
        ({"world": "metashift", "train": 401, "correlation": 1}, {(0, 0): 201, (1, 1): 200}),
        (
            {"world": "celeba", "train": 1000, "blond": 0.3, "correlation": 0.9, "square": 0.6},
            {(0, 1): 420, (0, 0): 280, (1, 0): 270, (1, 1): 30},
        ),
        (
            {"world": "urban", "train": 2000, "correlation": 0.9, "beside": 0.7},
            {(0, 0): 630, (0, 1): 270, (0, 2): 70, (0, 3): 30, (1, 3): 630, (1, 2): 270, (1, 1): 70, (1, 0): 30},
        ),
        ({"world": "urban", "train": 400, "correlation": 1}, {(0, 0): 190, (0, 1): 10, (1, 3): 190, (1, 2): 10}),
        ({"world": "waterbirds", "train": 1000, "waterbirds": 0.5}, {(0, 0): 475, (0, 1): 25, (1, 1): 475, (1, 0): 25}),
    ],
)
def test_size_and_correlation_are_free(settings: dict[str, object], expected: dict[tuple[int, int], int]) -> None:
    assert sizes(PocketConfig.model_validate(settings))["train"] == expected


def test_familiar_images_follow_the_training_shares(world: str) -> None:
    config = PocketConfig.model_validate({"world": world})
    train = splits(config)[0]
    assert groups(familiar(config, len(train.cells))) == groups(train)


def test_contexts_within_a_group_are_drawn_evenly() -> None:
    for split in splits(PocketConfig.model_validate({"world": "metashift"})):
        found = Counter((cell.label, cell.attribute, cell.place) for cell in split.cells)
        assert len(found) == 12
        for label, attribute in groups(split):
            each = [n for (i, j, _), n in found.items() if (i, j) == (label, attribute)]
            assert len(each) == 3 and max(each) - min(each) <= 1


def test_scenes_show_what_their_cells_say(world: str) -> None:
    config = small(world)
    drawn = list(items(splits(config), config))
    assert [item.id for item in drawn] == list(range(1, len(drawn) + 1))
    for split in splits(config):
        inside = [item for item in drawn if item.split.name == split.name]
        assert [item.number for item in inside] == list(range(1, len(split.cells) + 1))
        assert Counter(item.cell for item in inside) == Counter(split.cells)
    for item in drawn:
        assert item.scene.place == item.cell.place in MINIATURES[world].places[item.cell.attribute]
        things = MINIATURES[world].things
        shown = item.scene.beside.kind if item.scene.beside else None
        assert shown == item.cell.thing == (things[item.cell.attribute] if things else None)
        second = {
            "waterbirds": lambda subject: subject.neck_is_long,
            "metashift": lambda subject: subject.ears_hang,
            "celeba": lambda subject: subject.colour == "golden",
            "urban": lambda subject: subject.neck_is_long,
        }[world]
        assert second(item.scene.subject) == bool(item.cell.label)


def test_groups_are_mixed(world: str) -> None:
    config = PocketConfig.model_validate({"world": world})
    first = [item.cell.label for item, _ in zip(items(splits(config), config), range(60), strict=False)]
    assert len(set(first)) == 2
