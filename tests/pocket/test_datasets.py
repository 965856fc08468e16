"""The pocket world on disk: layout, group counts, masks, scenes."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.config import PocketConfig
from ddb.errors import DataError
from ddb.pocket import datasets
from ddb.pocket.datasets import group_plan, oracle, read_scenes, write_in_distribution, write_pocket_waterbirds
from ddb.pocket.world import render

SMALL = PocketConfig(train=40, val=12, test=16)


def metadata(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pocket_waterbirds(tmp_path_factory.mktemp("pocket") / "new" / "birds", SMALL)


def test_default_group_sizes_are_those_of_the_benchmark() -> None:
    assert Counter(group_plan(2400, 0.22, 0.95)) == {(0, 0): 1778, (0, 1): 94, (1, 1): 502, (1, 0): 26}
    assert Counter(group_plan(2000, 0.22, 0.5)) == {(0, 0): 780, (0, 1): 780, (1, 1): 220, (1, 0): 220}


def test_layout_is_that_of_waterbirds(drawn: Path) -> None:
    rows = metadata(drawn)
    assert list(rows[0]) == ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    assert [row["img_id"] for row in rows] == [str(n) for n in range(1, 69)]
    assert Counter(row["split"] for row in rows) == {"0": 40, "1": 12, "2": 16}
    cells = Counter((row["y"], row["place"]) for row in rows if row["split"] == "2")
    assert cells == {("0", "0"): 6, ("0", "1"): 6, ("1", "0"): 2, ("1", "1"): 2}


def test_images_and_masks_are_the_scenes_that_are_listed(drawn: Path) -> None:
    listed = read_scenes(drawn)
    rows = metadata(drawn)
    assert set(listed) == {row["img_filename"] for row in rows}
    for row in rows[::7]:
        scene = listed[row["img_filename"]]
        picture = render(scene)
        assert np.array_equal(np.asarray(Image.open(drawn / row["img_filename"])), picture.image)
        mask = np.asarray(Image.open(drawn / "masks" / row["img_filename"]))
        assert set(np.unique(mask)) == {0, 255} and np.array_equal(mask == 255, picture.mask)
        assert scene.place == ("forest", "lake")[int(row["place"])]
        assert scene.subject is not None and scene.subject.neck_is_long == (row["y"] == "1")


def test_the_oracle_keeps_the_place_and_changes_the_bird(drawn: Path) -> None:
    scene = next(s for s in read_scenes(drawn).values() if s.subject is not None and not s.subject.neck_is_long)
    first, again, other = (oracle(scene, "waterbird", seed) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image) and not np.array_equal(first.image, other.image)
    assert first.scene.subject is not None and first.scene.subject.neck_is_long
    assert first.scene.place_seed == scene.place_seed


def test_same_settings_same_bytes_other_seed_other_images(drawn: Path, tmp_path: Path) -> None:
    assert digest(write_pocket_waterbirds(tmp_path / "again", SMALL)) == digest(drawn)
    other = digest(write_pocket_waterbirds(tmp_path / "other", SMALL.model_copy(update={"seed": 1})))
    assert not set(other.values()) & set(digest(drawn).values())


def test_in_distribution_images_are_new_and_follow_the_training_shares(drawn: Path, tmp_path: Path) -> None:
    rows = metadata(write_in_distribution(tmp_path / "familiar", SMALL, 100))
    assert Counter((row["y"], row["place"]) for row in rows) == Counter(
        {(str(y), str(place)): n for (y, place), n in Counter(group_plan(100, 0.22, 0.95)).items()}
    )
    assert {row["split"] for row in rows} == {"2"}
    seen = {scene.place_seed for scene in read_scenes(drawn).values()}
    assert not seen & {scene.place_seed for scene in read_scenes(tmp_path / "familiar").values()}


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="already exists"):
        write_pocket_waterbirds(tmp_path, SMALL)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_killed_draw_leaves_no_folder_and_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def dies(*args: object) -> object:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return render(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(datasets, "render", dies)
    with pytest.raises(KeyboardInterrupt):
        write_pocket_waterbirds(tmp_path / "birds", SMALL)
    assert not (tmp_path / "birds").exists()
    monkeypatch.undo()
    write_pocket_waterbirds(tmp_path / "birds", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["birds"]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="birds cannot be written: No space left"):
        write_pocket_waterbirds(tmp_path / "birds", SMALL)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_scenes_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scenes\.json is missing"):
        read_scenes(tmp_path)
