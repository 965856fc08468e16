"""The summary of a data set before a run."""

from __future__ import annotations

from pathlib import Path

from ddb.config import DataConfig, PocketConfig
from ddb.data.inspection.summary import set_aside, summary
from ddb.data.sources.load import load_dataset
from ddb.data.table import Quarantined


def test_missing_images_are_counted_and_five_of_them_named() -> None:
    gone = [Quarantined(f"{n}.jpg", n + 2, "the file does not exist") for n in range(7)]
    bad = [Quarantined("x.png", None, "the file is empty")]
    assert set_aside([*gone[:3], *bad, *gone[3:]]) == [
        "7 of the listed images are missing: 0.jpg (line 2), 1.jpg (line 3), 2.jpg (line 4), 3.jpg (line 5), "
        "4.jpg (line 6) and 2 more",
        "1 files cannot be used and are set aside: x.png (the file is empty)",
    ]
    assert set_aside([]) == []


def test_groups_where_attributes_are_known_else_classes(folder: Path) -> None:
    lines = summary(load_dataset(DataConfig(root=str(folder))))
    assert lines[0] == f"data: 2 classes in {folder}"
    assert lines[1:4] == [
        "  train: 12 images (cat 6, dog 6)",
        "  val: 4 images (cat 2, dog 2)",
        "  test: 4 images (cat 2, dog 2)",
    ]
    assert (
        lines[4].startswith("  the data has no test split: it is 20%") and "validation" in lines[5] and len(lines) == 6
    )
    text = "path,label,attribute,split\n" + "".join(
        f"{name}/{n}.png,{name},{'sofa' if n % 2 else ''},{('train', 'train', 'val', 'test')[n % 4]}\n"
        for name in ("cat", "dog")
        for n in range(8)
    )
    (folder / "list.csv").write_text(text)
    lines = summary(load_dataset(DataConfig(source="table", root=str(folder / "list.csv"))))
    assert lines[1] == "  train: 8 images (cat/unknown 2, cat/sofa 2, dog/unknown 2, dog/sofa 2)"
    assert not any("no training image" in line for line in lines)


def test_groups_without_training_images_are_named(tmp_path: Path) -> None:
    pocket = PocketConfig.model_validate({"train": 40, "val": 12, "test": 12, "correlation": 1})
    lines = summary(load_dataset(DataConfig(source="pocket", pocket=pocket), tmp_path))
    assert lines[1] == "  train: 40 images (landbird/land 31, waterbird/water 9)"
    assert lines[4] == (
        "  no training image is of the groups landbird/water, waterbird/land: "
        "figures weighted by training groups leave them out"
    )
