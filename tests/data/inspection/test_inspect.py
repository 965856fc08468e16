"""`ddb data inspect`: what it finds, and how it says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.config import DataConfig
from ddb.data.inspection.inspect import Inspection, inspect_data
from ddb.data.inspection.words import in_words
from ddb.errors import DataError

Draw = Callable[..., Path]


def inspect(root: Path, **settings: str) -> Inspection:
    return inspect_data(DataConfig.model_validate({"source": "auto", "root": str(root), **settings}))


def table(folder: Path, counts: dict[tuple[str, str, str], int], draw: Draw) -> Path:
    """A table of drawn images: (split, label, attribute) -> how many."""
    lines, number = ["path,label,attribute,split"], 0
    for (split, label, attribute), count in counts.items():
        for _ in range(count):
            number += 1
            draw(folder / "t" / f"{number}.png", seed=number)
            lines.append(f"{number}.png,{label},{attribute},{split}")
    (folder / "t" / "list.csv").write_text("\n".join(lines) + "\n")
    return folder / "t" / "list.csv"


def test_counts_sizes_modes_and_formats(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "train" / "cat" / "1.png", 1, 10, 20)
    draw(tmp_path / "train" / "cat" / "2.jpg", 2, 30, 20, mode="L")
    draw(tmp_path / "train" / "dog" / "3.webp", 3, 50, 40)
    draw(tmp_path / "test" / "dog" / "4.png", 4, 30, 20)
    found = inspect(tmp_path)
    assert (found.source, found.classes, found.attributes) == ("folder", ("cat", "dog"), ())
    assert [(c.split, c.label, c.attribute, c.images) for c in found.counts] == [
        ("train", "cat", None, 2),
        ("train", "dog", None, 1),
        ("test", "dog", None, 1),
    ]
    shapes = found.shapes
    assert shapes is not None and (shapes.smallest, shapes.median, shapes.largest) == ((10, 20), (30, 20), (50, 40))
    assert dict(shapes.modes) == {"RGB": 3, "L": 1} and dict(shapes.formats) == {"PNG": 2, "JPEG": 1, "WEBP": 1}
    text = in_words(found)
    assert "10x20 to 50x40, median 30x20 (width x height)" in text and "PNG 2, JPEG 1, WEBP 1; modes RGB 3, L 1" in text
    assert "all can be read" in text and "duplicates  none" in text and "groups are the classes" in text


def test_association_is_that_of_the_contingency_table(tmp_path: Path, draw: Draw) -> None:
    counts = {("train", "a", "x"): 20, ("train", "a", "y"): 5, ("train", "b", "x"): 3, ("train", "b", "y"): 12}
    counts |= {("val", "a", "x"): 2, ("val", "a", "y"): 2, ("val", "b", "x"): 3, ("val", "b", "y"): 3}
    counts |= {("test", "a", "x"): 4, ("test", "b", "y"): 4}
    found = {item.split: item for item in inspect(table(tmp_path, counts, draw)).associations}
    label = np.repeat([0, 0, 1, 1], [20, 5, 3, 12])
    attribute = np.repeat([0, 1, 0, 1], [20, 5, 3, 12])
    pearson = np.corrcoef(label, attribute)[0, 1]
    assert found["train"].phi == pytest.approx(pearson) and found["train"].cramers_v == pytest.approx(pearson)
    assert found["val"].phi == pytest.approx(0, abs=1e-12) and found["test"].phi == pytest.approx(1)


def test_association_of_three_classes(tmp_path: Path, draw: Draw) -> None:
    observed = np.array([[6, 1, 1], [1, 6, 1], [2, 2, 4]])
    counts = {("train", "abc"[i], "xyz"[j]): int(observed[i, j]) for i in range(3) for j in range(3)}
    (found,) = inspect(table(tmp_path, counts, draw)).associations
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    chi2 = ((observed - expected) ** 2 / expected).sum()
    assert found.cramers_v == pytest.approx(np.sqrt(chi2 / observed.sum() / 2)) and found.phi is None


def test_broken_missing_and_repeated_files(folder: Path) -> None:
    root = folder.parent / "split"
    shutil.move(folder, root / "train")
    shutil.copytree(root / "train", root / "test")
    (root / "train" / "cat" / "0.png").write_bytes(b"broken")
    (root / "test" / "cat" / "1.png").write_bytes(b"")
    shutil.copy(root / "train" / "cat" / "5.png", root / "train" / "dog" / "5.png")
    found = inspect(root)
    assert {item.path for item in found.broken} == {"train/cat/0.png", "test/cat/1.png"} and not found.missing
    across = [item for item in found.duplicates if len(set(item.splits)) == 2]
    assert len(across) == len(found.duplicates) == 17 and across[0].labels in (
        ("cat", "cat", "dog"),
        ("cat", "dog", "cat"),
    )
    text = in_words(found)
    assert "WARNING: 17 images lie in more than one split, so test figures are too good: test/cat/5.png = " in text
    assert "WARNING: 1 image has several labels: test/cat/5.png" in text and "; and 12 more" in text
    assert "2 files cannot be used and are set aside: " in text


def test_copies_within_a_split_are_told_without_alarm(folder: Path) -> None:
    shutil.copy(folder / "cat" / "1.png", folder / "cat" / "99.png")
    text = in_words(inspect(folder))
    assert "1 file is an exact copy of another: cat/1.png = cat/99.png" in text and "WARNING" not in text
    assert "class  all\n" in text, "data without splits has one column"


def test_what_would_stop_a_run_is_shown_and_not_raised(folder: Path) -> None:
    rows = "".join(f"{name}/{n}.png,{name}\n" for name in ("cat", "dog") for n in range(9))
    (folder / "list.csv").write_text("path,label\n" + rows + "../x.png,cat\ncat/77.png,cat\ncat/1.png,cat\n")
    found = inspect(folder / "list.csv")
    assert len(found.faults) == 2 and [item.path for item in found.missing] == ["cat/77.png"]
    text = in_words(found)
    assert "1 of the listed images are missing: cat/77.png (line 21)" in text
    assert text.count("FAULT") == 2 and text.endswith("a run cannot start before these faults are mended")
    with pytest.raises(DataError, match="no layout that ddb knows"):
        inspect(folder / "cat")


def test_the_pocket_world(tmp_path: Path) -> None:
    from ddb.config import PocketConfig
    from ddb.pocket.datasets import write_pocket

    found = inspect(write_pocket(tmp_path / "w", PocketConfig(train=60, val=8, test=8)))
    assert found.source == "waterbirds" and found.attributes == ("land", "water") and not found.notes
    assert {(c.label, c.attribute): c.images for c in found.counts if c.split == "train"} == {
        ("landbird", "land"): 45,
        ("landbird", "water"): 2,
        ("waterbird", "land"): 1,
        ("waterbird", "water"): 12,
    }
    lines = in_words(found).splitlines()
    start = lines.index("  class      attribute  train  val  test")
    assert lines[start + 1].split() == ["landbird", "land", "45", "3", "3"]
    assert lines[start + 2].split() == ["water", "2", "3", "3"] and lines[start + 5].split() == ["all", "60", "8", "8"]
    assert json.loads(json.dumps(asdict(found)))["shapes"]["modes"] == {"RGB": 76}


def test_many_classes_are_cut(tmp_path: Path) -> None:
    for number in range(45):
        (tmp_path / f"{number:03d}").mkdir()
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number:03d}" / "1.png")
    text = in_words(inspect(tmp_path))
    assert "in 45 classes" in text and "and 5 more" in text and "044" not in text


def test_real_photographs(shared_data: Path, tmp_path: Path) -> None:
    found = inspect(shared_data / "photos")
    assert (found.source, len(found.classes), sum(c.images for c in found.counts)) == ("folder", 10, 800)
    assert not found.broken and found.shapes is not None and found.shapes.modes["L"] > 0
