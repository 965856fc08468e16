"""The world urban in UrbanCars' layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ddb.data.sources.urbancars import GROUP, SHARES, list_urbancars
from ddb.pocket.datasets import read_scenes, write_in_distribution, write_pocket
from small_worlds import small


def test_folders_are_named_as_urbancars_and_hold_what_they_say(drawn: Callable[[str], Path]) -> None:
    folder = drawn("urban")
    assert sorted(path.name for path in folder.iterdir()) == [
        "bg-0.5_co_occur_obj-0.5", "bg-0.95_co_occur_obj-0.95", "masks", "scenes.json",
    ]  # fmt: skip
    for name, scene in read_scenes(folder).items():
        shares, split, group, _ = Path(name).parts
        found, match = SHARES.fullmatch(shares), GROUP.fullmatch(group)
        assert found and match and scene.beside
        assert (found["background"] == found["thing"] == "0.95") == (split == "train")
        assert (match["background"], match["thing"]) == (scene.place, scene.beside.kind)
        assert (match["label"] == "waterbird") == scene.subject.neck_is_long  # type: ignore[union-attr]


def test_the_reader_finds_eight_groups(drawn: Callable[[str], Path]) -> None:
    listing = list_urbancars(str(drawn("urban")))
    assert not listing.faults and not listing.quarantined and not listing.notes and not listing.benchmark
    test = Counter((entry.label, entry.attribute) for entry in listing.entries if entry.split == "test")
    assert len(test) == 8 and set(test.values()) == {3}


def test_each_shortcut_has_a_share_of_its_own(tmp_path: Path) -> None:
    config = small("urban").model_copy(update={"correlation": 1.0, "beside": 0.8})
    names = [path.name for path in write_pocket(tmp_path / "new", config).iterdir()]
    assert "bg-1.0_co_occur_obj-0.8" in names
    familiar = list_urbancars(str(write_in_distribution(tmp_path / "familiar", config, 40)))
    assert {entry.split for entry in familiar.entries} == {"test"}
    cells = Counter((entry.label, entry.attribute) for entry in familiar.entries)
    assert cells == {
        ("landbird", "forest background and bench object"): 16,
        ("landbird", "forest background and boat object"): 4,
        ("waterbird", "lake background and boat object"): 16,
        ("waterbird", "lake background and bench object"): 4,
    }
