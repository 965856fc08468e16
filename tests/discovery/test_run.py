"""ddb discover as a whole, on a small data set: files, blindness, what is refused.

The built-in encoder finds the places of the built-in birds."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ddb
from ddb.backends.classifiers.timm_classifier import create_classifier, save_classifier
from ddb.config import RunConfig
from ddb.data.images import mask_png
from ddb.data.sources.load import load_dataset
from ddb.discovery import embed
from ddb.discovery.result import Discovery
from ddb.errors import ConfigError, DataError, ModelError

Settings = Callable[..., RunConfig]


def quiet(line: str) -> None:
    """Progress is not shown."""


@pytest.fixture(scope="module")
def found(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Discovery:
    """With the built-in encoder."""
    return ddb.discover(settings("discover.encoder=pocket"), tmp_path_factory.mktemp("found") / "out", say=quiet)


def test_the_places_are_found_and_named(found: Discovery, settings: Settings) -> None:
    (first,) = found.surroundings
    assert {group.name for group in first.groups} <= {"forest", "woods", "lake", "pond"}
    truth = load_dataset(settings().data).samples["attribute"].to_numpy()
    same = np.mean(first.members == truth)
    assert max(same, 1 - same) > 0.95
    assert not first.inseparable


def test_the_files_say_the_same(found: Discovery) -> None:
    facts = json.loads((found.folder / "discover.json").read_text())
    assert facts["found"] and facts["usable"] and facts["groups_from"] == "surroundings"
    assert facts["images"] == facts["objects_found"] == 212
    lines = (found.folder / "groups.csv").read_text().splitlines()
    assert lines[0].endswith(found.dataset.content)
    rows = list(csv.DictReader(lines[1:]))
    assert [row["image"] for row in rows] == found.dataset.samples["image"].to_pylist()
    names = [group["name"] for group in facts["findings"][0]["groups"]]
    assert [row["name"] for row in rows] == [names[number] for number in found.surroundings[0].members.tolist()]
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)


def test_there_is_a_sheet_for_each_cluster_and_a_page_without_a_network(found: Discovery) -> None:
    clusters = sum(len(group.clusters) for finding in found.findings for group in finding.groups)
    assert len(list((found.folder / "sheets").glob("*.png"))) == clusters
    page = (found.folder / "discover.html").read_text()
    assert found.surroundings[0].groups[0].name in page
    assert "http" not in page.replace("http-equiv", "")
    assert "data.groups=groups.csv" in page


def test_the_groups_enter_the_data_set(found: Discovery, settings: Settings) -> None:
    dataset = load_dataset(settings(f"data.groups={found.groups}").data)
    assert set(dataset.discovered) == {group.name for group in found.surroundings[0].groups}
    assert not dataset.samples["discovered"].null_count


def test_no_attribute_is_read(settings: Settings, birds: Path, tmp_path: Path) -> None:
    """With all places exchanged in metadata.csv the same is found, file by file."""
    other = tmp_path / "birds"
    shutil.copytree(birds, other)
    lines = list(csv.DictReader((birds / "metadata.csv").read_text().splitlines()))
    rng = np.random.default_rng(0)
    with (other / "metadata.csv").open("w", newline="") as file:
        sheet = csv.DictWriter(file, lines[0])
        sheet.writeheader()
        sheet.writerows({**line, "place": int(rng.integers(2))} for line in lines)
    one = ddb.discover(settings(), tmp_path / "one", say=quiet)
    two = ddb.discover(settings(root=other), tmp_path / "two", say=quiet)
    assert one.dataset.attributes == two.dataset.attributes == ()
    for name in ("discover.json", "discover.html"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text()


def test_vectors_are_computed_once(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ddb.discover(settings(), tmp_path, say=quiet)

    def again(*given: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(embed, "embed", again)
    ddb.discover(settings("discover.alpha=0.2"), tmp_path, say=quiet)
    with pytest.raises(AssertionError, match="again"):
        ddb.discover(settings("discover.hole=mask"), tmp_path, say=quiet)


def test_a_model_is_asked_about_validation_images(settings: Settings, tmp_path: Path) -> None:
    config = settings("erm.backbone=test_resnet", "erm.weights=none", "erm.image_size=32")
    save_classifier(create_classifier(config.erm, ("landbird", "waterbird"), 0), tmp_path / "model")
    found = ddb.discover(config, tmp_path / "out", model=str(tmp_path / "model"), say=quiet)
    assert found.model == str(tmp_path / "model")
    assert str(tmp_path / "model") in (tmp_path / "out" / "discover.html").read_text()


def test_masks_for_no_image_are_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match=r"no object was found in any of 160 training images.*segment\.masks"):
        ddb.discover(settings(f"segment.masks={tmp_path / 'masks'}"), tmp_path / "out", say=quiet)
    (tmp_path / "masks" / "001.landbird").mkdir()
    (tmp_path / "masks" / "001.landbird" / "train_00001.png").write_bytes(mask_png(np.zeros((64, 64), bool)))
    with pytest.raises(DataError, match="no object was found"):
        ddb.discover(settings(f"segment.masks={tmp_path / 'masks'}"), tmp_path / "out", say=quiet)


def test_a_few_missing_masks_are_noted(settings: Settings, birds: Path, tmp_path: Path) -> None:
    shutil.copytree(birds / "masks", tmp_path / "masks")
    for path in sorted((tmp_path / "masks").rglob("*.png"))[::3]:
        path.unlink()
    found = ddb.discover(settings(f"segment.masks={tmp_path / 'masks'}"), tmp_path / "out", say=quiet)
    assert 0.6 < found.embedded.found.mean() < 0.7
    assert "An object was found in" in (tmp_path / "out" / "discover.html").read_text()


@pytest.mark.parametrize("text", ["", "bird\nland\nwater\n", "lake\n"])
def test_a_vocabulary_without_words_is_refused(settings: Settings, tmp_path: Path, text: str) -> None:
    (tmp_path / "words.txt").write_text(text)
    with pytest.raises(ConfigError, match=r"discover\.vocabulary"):
        ddb.discover(settings(f"discover.vocabulary={tmp_path / 'words.txt'}"), tmp_path / "out", say=quiet)


def test_a_missing_encoder_and_a_missing_model_are_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        ddb.discover(settings(f"discover.encoder={tmp_path / 'nowhere'}"), tmp_path / "out", say=quiet)
    with pytest.raises(ModelError):
        ddb.discover(settings(), tmp_path / "out", model=str(tmp_path / "nowhere"), say=quiet)
