"""The miniature of Waterbirds in the real layout."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ddb.data.sources.waterbirds import list_waterbirds
from ddb.pocket.datasets import read_scenes


def test_metadata_has_the_columns_and_codes_of_the_tarball(drawn: Callable[[str], Path]) -> None:
    folder = drawn("waterbirds")
    with (folder / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    assert [row["img_id"] for row in rows] == [str(n) for n in range(1, 157)]
    assert Counter(row["split"] for row in rows) == {"0": 120, "1": 12, "2": 24}
    scenes = read_scenes(folder)
    for row in rows:
        scene = scenes[row["img_filename"]]
        assert row["img_filename"].startswith(("001.landbird/", "002.waterbird/")[int(row["y"])])
        assert scene.place == ("forest", "lake")[int(row["place"])] and row["place_filename"].startswith(scene.place)
        assert scene.subject is not None and scene.subject.neck_is_long == (row["y"] == "1")


def test_the_reader_finds_every_image(drawn: Callable[[str], Path]) -> None:
    listing = list_waterbirds(str(drawn("waterbirds")))
    assert not listing.faults and not listing.notes and len(listing.entries) == 156
    cells = Counter((entry.label, entry.attribute) for entry in listing.entries if entry.split == "test")
    assert cells == {
        ("landbird", "land"): 10,
        ("landbird", "water"): 9,
        ("waterbird", "land"): 3,
        ("waterbird", "water"): 2,
    }
