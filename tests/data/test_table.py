"""The data set's table: what stages may see of it, and what its fingerprints cover."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.load import load_dataset
from ddb.data.table import NO_ATTRIBUTE, Dataset


def load(folder: Path, attributes: str, classes: tuple[str, ...] = (), phrase: str = "animal") -> Dataset:
    text = "path,label,attribute\n" + "".join(
        f"{name}/{n}.png,{name},{attributes[n % len(attributes)].strip()}\n"
        for name in ("cat", "dog")
        for n in range(8)
    )
    (folder / "list.csv").write_text(text)
    return load_dataset(
        DataConfig(source="table", root=str(folder / "list.csv"), phrase=phrase, classes=classes, split_seed=4)
    )


def test_counts_add_up(folder: Path) -> None:
    dataset = load(folder, "ab ")
    counts = dataset.counts()
    assert list(counts) == ["train", "val", "test"]
    assert sum(sum(cells.values()) for cells in counts.values()) == dataset.samples.num_rows == 16
    assert {group.attribute for cells in counts.values() for group in cells} == {0, 1, NO_ATTRIBUTE}
    for split in counts:
        assert dataset.split(split).num_rows == sum(counts[split].values())


def test_rows_find_samples(folder: Path) -> None:
    dataset = load(folder, "ab")
    assert [dataset.rows[name] for name in dataset.samples["id"].to_pylist()] == list(range(16))


def test_without_attributes_nothing_depends_on_them(folder: Path) -> None:
    """The method may be given any attributes: what it sees is the same."""
    one, other = load(folder, "ab"), load(folder, "bbba")
    assert one.fingerprint != other.fingerprint and one.content == other.content
    blind, other_blind = one.without_attributes(), other.without_attributes()
    assert blind.samples == other_blind.samples and blind.attributes == ()
    assert blind.samples["attribute"].null_count == 16
    assert blind.samples.schema == one.samples.schema
    assert blind.fingerprint == other_blind.fingerprint == blind.without_attributes().fingerprint


@pytest.mark.parametrize("change", ["pixels", "classes", "seed"])
def test_fingerprint_covers_all_that_decides_a_run(folder: Path, change: str) -> None:
    before = load(folder, "ab")
    assert load(folder, "ab").fingerprint == before.fingerprint
    if change == "pixels":
        (folder / "cat" / "0.png").write_bytes((folder / "dog" / "9.png").read_bytes())
        assert load(folder, "ab").fingerprint != before.fingerprint
    elif change == "classes":
        assert load(folder, "ab", classes=("dog", "cat")).fingerprint != before.fingerprint
    else:
        config = DataConfig(source="table", root=str(folder / "list.csv"), phrase="animal", split_seed=5)
        assert load_dataset(config).fingerprint != before.fingerprint


def test_fingerprint_does_not_depend_on_the_place(folder: Path) -> None:
    before = load(folder, "ab").fingerprint
    moved = folder.rename(folder.parent / "elsewhere")
    assert load(moved, "ab").fingerprint == before
