"""What the folders of the worlds have in common: masks, scenes, oracle, seeds, faults."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.errors import DataError
from ddb.pocket import datasets
from ddb.pocket.datasets import oracle, read_scenes, write_in_distribution, write_pocket
from ddb.pocket.miniatures import MINIATURES, items, splits
from ddb.pocket.world import render
from small_worlds import small


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def images(folder: Path) -> set[str]:
    paths = [path.relative_to(folder) for path in folder.rglob("*.png")]
    return {path.as_posix() for path in paths if path.parts[0] != "masks"}


def test_images_and_masks_are_the_scenes_that_are_listed(drawn: Callable[[str], Path], world: str) -> None:
    folder = drawn(world)
    listed = read_scenes(folder)
    assert set(listed) == images(folder) and len(listed) == 156
    for name, scene in list(listed.items())[::13]:
        picture = render(scene)
        assert np.array_equal(np.asarray(Image.open(folder / name)), picture.image)
        mask = np.asarray(Image.open(folder / "masks" / name))
        assert set(np.unique(mask)) == {0, 255} and np.array_equal(mask == 255, picture.mask)


def test_scenes_come_back_as_they_were_drawn(drawn: Callable[[str], Path], world: str) -> None:
    config = small(world)
    assert list(read_scenes(drawn(world)).values()) == [item.scene for item in items(splits(config), config)]


def test_the_oracle_keeps_the_place_and_changes_the_class(drawn: Callable[[str], Path], world: str) -> None:
    config = small(world)
    item = next(item for item in items(splits(config), config) if item.cell.label == 0)
    scene = list(read_scenes(drawn(world)).values())[item.id - 1]
    first, again, other = (oracle(scene, MINIATURES[world].plans[1], seed) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image) and not np.array_equal(first.image, other.image)
    assert (first.scene.place_seed, first.scene.place) == (scene.place_seed, scene.place)
    assert first.scene.beside == scene.beside and (scene.beside is not None) == (world == "urban")
    seen = {
        "waterbirds": lambda: first.scene.subject.neck_is_long,
        "metashift": lambda: first.scene.subject.ears_hang,
        "celeba": lambda: first.scene.subject.colour == "golden",
        "urban": lambda: first.scene.subject.neck_is_long,
    }
    assert seen[world]()
    touched = first.mask | np.asarray(Image.open(drawn(world) / "masks" / list(read_scenes(drawn(world)))[item.id - 1]))
    differs = (first.image != render(scene).image).any(axis=2)
    assert not differs[~grown(touched > 0)].any(), "pixels beside both objects are the source's"


def grown(mask: np.ndarray) -> np.ndarray:
    """With the neighbours that an object covers in part."""
    padded = np.pad(mask, 2)
    return np.any([np.roll(padded, (y, x), (0, 1)) for y in range(-2, 3) for x in range(-2, 3)], axis=0)[2:-2, 2:-2]


def test_same_settings_same_bytes_other_seed_other_images(
    drawn: Callable[[str], Path], world: str, tmp_path: Path
) -> None:
    config = small(world)
    first = digest(drawn(world))
    assert digest(write_pocket(tmp_path / "again", config)) == first
    other = digest(write_pocket(tmp_path / "other", config.model_copy(update={"seed": 1})))
    pictures = {first[name] for name in images(drawn(world))}
    assert not pictures & {other[name] for name in images(tmp_path / "other")}


def test_waterbirds_are_those_of_the_measured_figures(drawn: Callable[[str], Path]) -> None:
    """Groups, order and scenes of the folder do not move: the project's figures were measured on them."""
    folder = drawn("waterbirds")
    content = (folder / "metadata.csv").read_bytes() + (folder / "scenes.json").read_bytes()
    assert hashlib.sha256(content).hexdigest()[:16] == "1e896f6fa37a5f4d"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("waterbirds", "d08d5a8ee3f18316"), ("metashift", "2361d295dcc7cc67"), ("celeba", "cf397676951dc005")],
)
def test_the_first_three_worlds_keep_their_pixels(name: str, expected: str, drawn: Callable[[str], Path]) -> None:
    """Images and masks as before urban was added. Decoded, since compressed bytes depend on zlib's version."""
    pixels = hashlib.sha256()
    for path in sorted(drawn(name).rglob("*.png")):
        pixels.update(path.relative_to(drawn(name)).as_posix().encode())
        pixels.update(np.asarray(Image.open(path)).tobytes())
    assert pixels.hexdigest()[:16] == expected


def test_in_distribution_images_are_new(drawn: Callable[[str], Path], world: str, tmp_path: Path) -> None:
    folder = write_in_distribution(tmp_path / "familiar", small(world), 60)
    assert len(images(folder)) == 60
    seen = {scene.place_seed for scene in read_scenes(drawn(world)).values()}
    assert not seen & {scene.place_seed for scene in read_scenes(folder).values()}


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="already exists"):
        write_pocket(tmp_path, small("celeba"))
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_killed_draw_leaves_no_folder_and_is_repeated(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1000))

    def dies(*args: object) -> object:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return render(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(datasets, "render", dies)
    with pytest.raises(KeyboardInterrupt):
        write_pocket(tmp_path / "new", small(world))
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    write_pocket(tmp_path / "new", small(world))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="birds cannot be written: No space left"):
        write_pocket(tmp_path / "birds", small("waterbirds"))
    assert not list(tmp_path.iterdir())


def test_a_folder_without_scenes_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"scenes\.json is missing"):
        read_scenes(tmp_path)
