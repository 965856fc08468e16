"""The layout of Waterbirds: what it becomes, and what is said about a file that is not right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.load import load_dataset
from ddb.errors import DataError

Draw = Callable[..., Path]
WATERBIRDS = "img_id,img_filename,y,split,place,place_filename,class_name\n"


def waterbirds(folder: Path, draw: Draw) -> str:
    text, number = WATERBIRDS, 0
    for split, count in ((0, 4), (1, 1), (2, 1)):
        for y in (0, 1):
            for place in (0, 1):
                for _ in range(count):
                    number += 1
                    draw(folder / f"00{y}.Bird" / f"{number}.jpg", seed=number)
                    text += f"{number},00{y}.Bird/{number}.jpg,{y},{split},{place},/elsewhere/x.jpg,a bird\n"
    return text


def test_waterbirds_layout(tmp_path: Path, draw: Draw) -> None:
    (tmp_path / "metadata.csv").write_text(waterbirds(tmp_path, draw))
    dataset = load_dataset(DataConfig(source="waterbirds", root=str(tmp_path), phrase="bird"))
    assert dataset.classes == ("landbird", "waterbird") and dataset.attributes == ("land", "water")
    cells = {(0, 0), (0, 1), (1, 0), (1, 1)}
    for split, count in (("train", 4), ("val", 1), ("test", 1)):
        assert {tuple(group): n for group, n in dataset.counts()[split].items()} == dict.fromkeys(cells, count)


@pytest.mark.parametrize("values", [",0,9,1", ",2,0,1", ",0,0,", ",0,train,1"])
def test_waterbirds_values_unknown(tmp_path: Path, draw: Draw, values: str) -> None:
    text = waterbirds(tmp_path, draw) + f"99,a.jpg{values},x,y\n"
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(DataError, match=r"metadata\.csv: line 26: (y|split|place) '.*' is unknown: use 0 \("):
        load_dataset(DataConfig(source="waterbirds", root=str(tmp_path)))


def test_waterbirds_one_level_too_high(tmp_path: Path, draw: Draw) -> None:
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "metadata.csv").write_text(WATERBIRDS)
    with pytest.raises(DataError, match=r"no metadata\.csv; there is one in .*birds: set data\.root to it"):
        load_dataset(DataConfig(source="waterbirds", root=str(tmp_path)))


def test_metadata_that_somebody_else_made_without_its_images(shared_data: Path, tmp_path: Path) -> None:
    shutil.copy(shared_data / "metadata" / "waterbirds_variant_metadata.csv", tmp_path / "metadata.csv")
    with pytest.raises(
        DataError, match=r"5326 of the listed images are missing: 161\.Blue_winged_Warbler.*\(line 2\), .*and 5321 more"
    ):
        load_dataset(DataConfig(source="waterbirds", root=str(tmp_path)))
