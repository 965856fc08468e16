"""The pocket world's concept images: one folder a concept, readable by DISC, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest

from ddb.errors import DataError
from ddb.pocket.concepts import COLOURS, write_concepts
from ddb.pocket.world import FAMILIES
from ddb.rivals.concept_images import read_concepts


def test_concepts_are_the_empty_places_and_plain_colours(tmp_path):
    found = read_concepts(write_concepts(tmp_path / "a", 5, 0), 64, 10)
    places = {place for family in FAMILIES.values() for place in family.places}
    assert set(found) == places | set(COLOURS)
    assert {pixels.shape for pixels in found.values()} == {(5, 64, 64, 3)}
    red, blue = (found[name].mean(axis=(0, 1, 2)) for name in ("red", "blue"))
    assert red[0] > red[2] and blue[2] > blue[0]
    again = read_concepts(write_concepts(tmp_path / "b", 5, 0), 64, 10)
    other = read_concepts(write_concepts(tmp_path / "c", 5, 1), 64, 10)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    assert not any(np.array_equal(found[name], other[name]) for name in found)
    assert all(len(np.unique(pixels.reshape(5, -1), axis=0)) == 5 for pixels in found.values())


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    with pytest.raises(DataError, match="already exists"):
        write_concepts(tmp_path, 5, 0)
