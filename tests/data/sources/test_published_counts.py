"""Published group counts against what a listing holds."""

from __future__ import annotations

from dataclasses import replace

from ddb.data.sources.layout.listing import Entry
from ddb.data.sources.published_counts import PUBLISHED, compare


def listed(benchmark: str) -> list[Entry]:
    return [
        Entry(f"{split}/{label}/{attribute}/{n}", label, attribute, split)
        for split, cells in PUBLISHED[benchmark].counts.items()
        for (label, attribute), count in cells.items()
        for n in range(count)
    ]


def test_totals_are_those_of_the_papers() -> None:
    """Sums that the sources state beside the groups: Waterbirds 4795/1199/5794, CelebA 162770/19867/19962, UrbanCars
    4000/500/500 of each class, Spawrious 6336 of each breed."""
    totals = {
        name: [sum(cells.values()) for cells in published.counts.values()] for name, published in PUBLISHED.items()
    }
    assert totals["waterbirds"] == [4795, 1199, 5794] and totals["celeba"] == [162_770, 19_867, 19_962]
    assert totals["urbancars"] == [8000, 1000, 1000] and totals["imagenet9"] == [9 * 5045, 5 * 4050]
    assert all(count == [25_344, 25_344] for name, count in totals.items() if name.startswith("spawrious"))
    assert totals["metashift-indoor-outdoor"] == [1700, 576]
    assert totals["metashift-bench-bike"] == [1123, 34 + 47 + 201 + 259]


def test_urbancars_groups_are_those_of_the_authors_script() -> None:
    """int(share x share x images of a class), as gen_urbancars.py computes them."""
    for split, share, images in (("train", 0.95, 4000), ("val", 0.5, 500), ("test", 0.5, 500)):
        for (label, attribute), count in PUBLISHED["urbancars"].counts[split].items():
            fits = [part.startswith(label) for part in attribute.split(" and ")]
            background, thing = (share if fit else 1 - share for fit in fits)
            assert count == int(background * thing * images), (split, label, attribute)


def test_equal_counts_are_said_and_unknown_data_is_not_judged() -> None:
    for name, published in PUBLISHED.items():
        assert compare(listed(name), name) == (f"group counts equal the published ones of {published.name}",)
    assert compare(listed("waterbirds"), "") == ()


def test_a_mismatch_names_the_split_and_both_counts_in_one_line() -> None:
    entries = listed("waterbirds")
    (note,) = compare(entries[1:], "waterbirds")
    assert note == (
        "warning: group counts differ from the published ones of Waterbirds: "
        "train 3497/184/56/1057 instead of 3498/184/56/1057"
    )
    (note,) = compare([*entries, Entry("x", "landbird", "sky", "test"), Entry("y", "landbird", "land")], "waterbirds")
    assert "test 2255/2255/642/642/1 instead of" in note and note.endswith("1 images in splits that it does not have")


def test_exchanged_codes_are_suspected() -> None:
    turned = {"land": "water", "water": "land"}
    entries = [replace(entry, attribute=turned[str(entry.attribute)]) for entry in listed("waterbirds")]
    (note,) = compare(entries, "waterbirds")
    assert "train 184/3498/1057/56 instead of" in note
    assert note.endswith("The same numbers in another order: are the codes of label or attribute exchanged?")
