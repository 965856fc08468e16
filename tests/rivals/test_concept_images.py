"""Concept folders: both layouts, and what is wrong with others."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ddb.data.preprocessing import Preprocessing
from ddb.errors import DataError
from ddb.rivals.concept_images import read_concepts

HOW = Preprocessing(8, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3)


def write(folder, count):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((12, 20, 3), number, np.uint8)).save(folder / f"{number:02d}.png")


def test_both_layouts(tmp_path):
    write(tmp_path / "lake", 6)
    write(tmp_path / "forest" / "positives", 8)
    (tmp_path / "metadata.json").write_text("{}")
    (tmp_path / "lake" / "notes.txt").write_text("")
    found = read_concepts(tmp_path, HOW, 7)
    assert {name: pixels.shape for name, pixels in found.items()} == {"forest": (7, 8, 8, 3), "lake": (6, 8, 8, 3)}
    assert found["lake"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder of concept images"):
        read_concepts(tmp_path / "nowhere", HOW, 10)


def test_one_concept_is_too_few(tmp_path):
    write(tmp_path / "lake", 6)
    with pytest.raises(DataError, match="1 sub-folders; two concepts or more"):
        read_concepts(tmp_path, HOW, 10)


def test_a_concept_with_few_images_is_named(tmp_path):
    write(tmp_path / "lake", 6)
    write(tmp_path / "forest", 2)
    with pytest.raises(DataError, match="forest: 2 images; a concept needs 5"):
        read_concepts(tmp_path, HOW, 10)
