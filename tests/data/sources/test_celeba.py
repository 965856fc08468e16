"""CelebA in the forms in which it is passed around."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.celeba import list_celeba
from ddb.data.sources.load import load_dataset
from ddb.errors import DataError

Draw = Callable[..., Path]
NAMES = ("5_o_Clock_Shadow", "Blond_Hair", "Male", "Smiling")
ROWS = [  # (blond, male, smiling, split): every group in every split
    (blond, male, (blond + male + split) % 2, split)
    for split, count in ((0, 2), (1, 1), (2, 1))
    for blond, male in itertools.product((0, 1), repeat=2)
    for _ in range(count)
]


def image(number: int) -> str:
    return f"{number + 1:06d}.jpg"


def values(row: tuple[int, int, int, int], low: str) -> list[str]:
    return [low, *("1" if value else low for value in row[:3])]


def write(root: Path, draw: Draw, kind: str, low: str = "-1", below: str = "img_align_celeba") -> Path:
    first = draw(root / below / image(0), width=6, height=8)
    for number in range(1, len(ROWS)):
        (root / below / image(number)).hardlink_to(first)
    if kind == "csv":
        lines = [",".join(("image_id", *NAMES)), *(",".join((image(n), *values(r, low))) for n, r in enumerate(ROWS))]
        (root / "list_attr_celeba.csv").write_text("\n".join(lines) + "\n")
        parts = "".join(f"{image(n)},{row[3]}\n" for n, row in enumerate(ROWS))
        (root / "list_eval_partition.csv").write_text("image_id,partition\n" + parts)
    else:  # the published files: two lines before the rows, several spaces, no header
        lines = [str(len(ROWS)), " ".join(NAMES) + " "]
        lines += [f"{image(n)} " + " ".join(f"{v:>2}" for v in values(row, low)) for n, row in enumerate(ROWS)]
        (root / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
        (root / "list_eval_partition.txt").write_text("".join(f"{image(n)} {r[3]}\n" for n, r in enumerate(ROWS)))
    return root


def config(root: Path, **settings: str) -> DataConfig:
    return DataConfig.model_validate({"source": "celeba", "root": str(root), **settings})


@pytest.mark.parametrize("below", ["img_align_celeba", "img_align_celeba/img_align_celeba", "."])
@pytest.mark.parametrize("low", ["-1", "0"])
@pytest.mark.parametrize("kind", ["csv", "txt"])
def test_both_files_and_both_codings_give_the_same_groups(
    tmp_path: Path, draw: Draw, kind: str, low: str, below: str
) -> None:
    dataset = load_dataset(config(write(tmp_path, draw, kind, low, below)))
    assert dataset.classes == ("not blond", "blond") and dataset.attributes == ("female", "male")
    cells = {(0, 0), (0, 1), (1, 0), (1, 1)}
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        assert {tuple(group): n for group, n in dataset.counts()[split].items()} == dict.fromkeys(cells, count)
    wanted = {image(n): (row[0], row[1]) for n, row in enumerate(ROWS)}
    for row in dataset.samples.to_pylist():
        assert wanted[Path(row["image"]).name] == (row["label"], row["attribute"])
    (note,) = [note for note in dataset.notes if "CelebA" in note]
    assert note.startswith("warning: group counts differ") and "train 2/2/2/2 instead of 71629/66874/22880/1387" in note


def test_any_other_pair_of_attributes(tmp_path: Path, draw: Draw) -> None:
    dataset = load_dataset(config(write(tmp_path, draw, "csv"), target="Smiling", attribute="Blond_Hair"))
    assert dataset.classes == ("not smiling", "smiling") and dataset.attributes == ("not blond", "blond")
    smiling = sum(row[2] for row in ROWS)
    assert sum(dataset.samples["label"].to_pylist()) == smiling and not dataset.notes
    with pytest.raises(DataError, match=r"data\.target: list_attr_celeba\.csv has no attribute 'Smile'; it has 5_o_"):
        load_dataset(config(tmp_path, target="Smile"))
    with pytest.raises(ValueError, match="target and attribute are both 'Male'"):
        config(tmp_path, target="Male", attribute="Male")
    with pytest.raises(DataError, match="both 'Male'"):
        list_celeba(str(tmp_path), target="Male")


@pytest.mark.parametrize("name", ["metadata.csv", "celeba_split.csv"])
def test_one_merged_file(tmp_path: Path, draw: Draw, name: str) -> None:
    """JTT's (with a leading index column) and DaC's."""
    apart = load_dataset(config(write(tmp_path, draw, "csv")))
    for path in tmp_path.glob("list_*"):
        path.unlink()
    rows = "".join(f"{n},{image(n)},{','.join(values(row, '0'))},{row[3]}\n" for n, row in enumerate(ROWS))
    (tmp_path / name).write_text(f",image_id,{','.join(NAMES)},split\n" + rows)
    assert load_dataset(config(tmp_path)).samples == apart.samples
    dfr = "".join(f"{n},{image(n)},{row[0]},{row[3]},{row[1]}\n" for n, row in enumerate(ROWS))
    (tmp_path / name).write_text("img_id,img_filename,y,split,place\n" + dfr)
    assert load_dataset(config(tmp_path)).samples == apart.samples
    with pytest.raises(DataError, match="has no attribute 'Smiling'"):
        load_dataset(config(tmp_path, target="Smiling"))


BAD = {
    "coding": ("list_attr_celeba.csv", "000002.jpg,-1,-1", "000002.jpg,-1,7", "line 3: Blond_Hair '7' is unknown"),
    "mixed": ("list_attr_celeba.csv", "000002.jpg,-1,-1", "000002.jpg,-1,0", "Blond_Hair has both -1 and 0"),
    "split": ("list_eval_partition.csv", "000003.jpg,0", "000003.jpg,9", "line 4: split '9' is unknown: use 0, 1 or 2"),
    "no split": ("list_eval_partition.csv", "000003.jpg,0\n", "", r"1 images are not in .*csv: 000003\.jpg \(line 4\)"),
    "short": ("list_attr_celeba.csv", "000002.jpg,-1", "000002.jpg", "line 3 has 4 values, the header 5"),
    "no column": ("list_attr_celeba.csv", "Male", "Man", r"data\.attribute: .* has no attribute 'Male'"),
    "text short": ("list_attr_celeba.txt", "000002.jpg -1", "000002.jpg", "line 4 has 4 values, the header 4 and the"),
    "text cut": ("list_attr_celeba.txt", "16\n", "17\n", "line 1 says 17 images, there are 16: the file is cut off"),
    "text split": ("list_eval_partition.txt", "000003.jpg 0", "000003.jpg", "line 3 has 1 values: it should be an im"),
}


@pytest.mark.parametrize("case", BAD)
def test_faults_are_told_with_their_line(tmp_path: Path, draw: Draw, case: str) -> None:
    name, old, new, message = BAD[case]
    path = write(tmp_path, draw, Path(name).suffix[1:]) / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        load_dataset(config(tmp_path))


def test_missing_lists_and_missing_images(tmp_path: Path, draw: Draw) -> None:
    root = write(tmp_path / "celeba", draw, "csv")
    with pytest.raises(DataError, match=r"holds no list_attr_celeba.*there is one in .*celeba: set data\.root to it"):
        load_dataset(config(tmp_path))
    for number in (0, 1):
        (root / "img_align_celeba" / image(number)).unlink()
    (root / "img_align_celeba" / image(2)).unlink()
    # where the first image is missing the folder is not known: the others are looked for beside the lists
    with pytest.raises(DataError, match=r"16 of the listed images are missing: 000001\.jpg \(line 2\), .* and 11 more"):
        load_dataset(config(root))
    draw(root / "img_align_celeba" / image(0))
    assert [item.path for item in load_dataset(config(root)).quarantined] == [
        f"img_align_celeba/{image(n)}" for n in (1, 2)
    ]
    (root / "list_eval_partition.csv").unlink()
    with pytest.raises(DataError, match=r"holds no list_eval_partition\.csv or list_eval_partition\.txt"):
        load_dataset(config(root))


def test_settings_that_a_source_has_no_use_for_are_refused() -> None:
    for source in ("waterbirds", "folder", "metashift", "pocket", "urbancars", "spawrious", "nico", "imagenet9"):
        with pytest.raises(ValueError, match="no choice of target"):
            DataConfig.model_validate({"source": source, "target": "Smiling"})
    with pytest.raises(ValueError, match="variant 'bench-bike' is for source metashift; source celeba has none"):
        DataConfig.model_validate({"source": "celeba", "variant": "bench-bike"})
    with pytest.raises(ValueError, match="variant 'o2o' is unknown; source spawrious has o2o-easy, "):
        DataConfig.model_validate({"source": "spawrious", "variant": "o2o"})
