"""The pocket's worlds through `load_dataset`: the same as their written folders through the real readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddb.backends.segmenters.given_masks import open_given_masks, survey
from ddb.config import DataConfig
from ddb.data.inspection.inspect import inspect_data
from ddb.data.inspection.words import in_words
from ddb.data.sources.load import load_dataset, load_in_distribution
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.pocket.datasets import LAYOUTS
from small_worlds import small

GROUPS = {
    "waterbirds": (("landbird", "waterbird"), ("land", "water"), [89, 5, 1, 25]),
    "metashift": (("cat", "dog"), ("indoor", "outdoor"), [53, 7, 7, 53]),
    "celeba": (("not blond", "blond"), ("female", "male"), [53, 49, 17, 1]),
    "urban": (
        ("landbird", "waterbird"),
        (
            "forest background and bench object",
            "forest background and boat object",
            "lake background and bench object",
            "lake background and boat object",
        ),
        [54, 3, 3, 0, 0, 3, 3, 54],
    ),
}
SOURCES = {"urban": "urbancars"}
"""Where it is not the world's name."""


@pytest.fixture(params=sorted(LAYOUTS))
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sizes(dataset: Dataset, split: str) -> list[int]:
    counts = {tuple(group): count for group, count in dataset.counts()[split].items()}
    return [counts.get((label, attribute), 0) for label in (0, 1) for attribute in range(len(dataset.attributes))]


def test_a_world_is_drawn_once_and_read_as_the_real_data_set(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(source="pocket", phrase="thing", pocket=small(world))
    dataset = load_dataset(config, tmp_path)
    assert (dataset.classes, dataset.attributes, sizes(dataset, "train")) == GROUPS[world]
    assert [dataset.split(name).num_rows for name in ("train", "val", "test")] == [120, 12, 24]
    assert not dataset.quarantined and not dataset.notes
    monkeypatch.setattr("ddb.pocket.datasets.render", lambda scene: pytest.fail("drawn again"))
    assert load_dataset(config, tmp_path).fingerprint == dataset.fingerprint
    same = load_dataset(
        DataConfig.model_validate({"source": SOURCES.get(world, world), "phrase": "thing", "root": str(dataset.root)})
    )
    assert same.fingerprint == dataset.fingerprint and same.notes == dataset.notes


def test_inspection_recognises_the_layout_and_does_not_compare_it_with_the_published_counts(
    world: str, tmp_path: Path
) -> None:
    root = load_dataset(DataConfig(source="pocket", pocket=small(world)), tmp_path).root
    found = inspect_data(DataConfig(source="auto", root=str(root)))
    assert (found.source, found.classes, found.attributes) == (SOURCES.get(world, world), *GROUPS[world][:2])
    assert not found.faults and not found.notes and not found.duplicates and "warning" not in in_words(found)


def test_every_image_has_a_given_mask(world: str, tmp_path: Path) -> None:
    dataset = load_dataset(DataConfig(source="pocket", pocket=small(world)), tmp_path)
    images = dataset.samples["image"].to_pylist()
    found = survey(open_given_masks(str(dataset.root / "masks")), dataset.root, images, dataset.phrase)
    assert found.usable == tuple(images) and not found.faults


def test_in_distribution_images_are_a_test_split_with_the_training_groups(world: str, tmp_path: Path) -> None:
    config = DataConfig(source="pocket", pocket=small(world))
    familiar = load_in_distribution(config, 120, tmp_path)
    assert familiar.split("train").num_rows == familiar.split("val").num_rows == 0
    assert sizes(familiar, "test") == GROUPS[world][2]
    assert (familiar.classes, familiar.attributes, familiar.notes) == (*GROUPS[world][:2], ())
    seen = set(load_dataset(config, tmp_path).samples["id"].to_pylist())
    assert len(seen) == 156


def test_a_world_without_a_run_folder_lies_in_the_user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_dataset(DataConfig(source="pocket", pocket=small("waterbirds"))).root.parent == tmp_path / "ddb"


def test_in_distribution_images_come_from_the_pocket_alone(tmp_path: Path, folder: Path) -> None:
    dataset = load_in_distribution(DataConfig(source="pocket", pocket=small("waterbirds")), 50, tmp_path)
    assert [dataset.split(name).num_rows for name in ("train", "val", "test")] == [0, 0, 50]
    assert {tuple(g): n for g, n in dataset.counts()["test"].items()} == {(0, 0): 37, (0, 1): 2, (1, 0): 1, (1, 1): 10}
    with pytest.raises(DataError, match="needs data.source: pocket"):
        load_in_distribution(DataConfig(root=str(folder)), 50, tmp_path)


@pytest.mark.parametrize(("attribute", "names"), [("background", ("forest", "lake")), ("object", ("bench", "boat"))])
def test_one_of_two_shortcuts(attribute: str, names: tuple[str, str], tmp_path: Path) -> None:
    config = DataConfig(source="pocket", pocket=small("urban"), attribute=attribute)
    dataset = load_dataset(config, tmp_path)
    assert dataset.attributes == tuple(f"{name} {attribute}" for name in names)
    assert sizes(dataset, "train") == [57, 3, 3, 57] and sizes(dataset, "test") == [6, 6, 6, 6]
    assert load_in_distribution(config, 120, tmp_path).attributes == dataset.attributes
    with pytest.raises(ValueError, match="no choice of attribute"):
        DataConfig(source="pocket", attribute=attribute)
