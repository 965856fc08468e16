"""Which layout a folder is in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb.config import DataConfig
from ddb.data.sources.layout.recognise import recognise
from ddb.data.sources.load import load_dataset
from ddb.errors import DataError

Draw = Callable[..., Path]
LAYOUTS: dict[str, tuple[str, dict[str, str]]] = {
    "waterbirds": ("waterbirds", {"metadata.csv": "img_id,img_filename,y,split,place\n1,001.Bird/a.jpg,0,0,1\n"}),
    "celeba, lists": ("celeba", {"list_attr_celeba.csv": "image_id,Male\n", "img_align_celeba/1.jpg": ""}),
    "celeba, text": ("celeba", {"list_attr_celeba.txt": "1\nMale\n"}),
    "celeba of JTT": ("celeba", {"metadata.csv": ",image_id,Blond_Hair,Male,split\n"}),
    "celeba of DaC": ("celeba", {"celeba_split.csv": "image_id,Blond_Hair,Male,split\n"}),
    "celeba of DFR": ("celeba", {"metadata.csv": "img_id,img_filename,y,split,place\n0,000001.jpg,0,0,1\n"}),
    "metashift, pickle": ("metashift", {"imageID_to_group.pkl": "", "train/cat/1.jpg": ""}),
    "metashift, json": ("metashift", {"imageID_to_group.json": "{}", "train/cat/1.jpg": ""}),
    "metashift, contexts": ("metashift", {"train/cat/cat(sofa)/1.jpg": "", "test/dog/dog(shelf)/1.jpg": ""}),
    "urbancars": ("urbancars", {"bg-0.95_co_occur_obj-0.95/train/obj-urban_bg-urban_co_occur_obj-urban/000.jpg": ""}),
    "urbancars, one level up": ("urbancars", {"urbancars/bg-0.5_co_occur_obj-0.5/val/readme": ""}),
    "spawrious": ("spawrious", {"spawrious224/0/dirt/bulldog/1.png": "", "datasets.txt": "o2o_easy"}),
    "spawrious, inside": ("spawrious", {"0/dirt/bulldog/1.png": "", "1/dirt/bulldog/1.png": ""}),
    "imagenet9": (
        "imagenet9",
        {"original/train/00_dog/1.JPEG": "", "bg_challenge/mixed_rand/val/00_dog/1.JPEG": ""},
    ),
    "nico, benchmark": ("nico", {f"NICO_DG/{name}/bear/1.jpg": "" for name in ("autumn", "dim", "grass")}),
    "nico, contexts": ("nico", {f"{name}/bear/1.jpg": "" for name in ("water", "dim", "grass")}),
    "nico of subpopbench": (
        "nico",
        {f"public_dg_0416/train/{name}/bear/1.jpg": "" for name in ("rock", "dim", "grass")}
        | {"metadata.csv": "filename,y,a,split\n"},
    ),
    "subpopbench": ("subpopbench", {"metadata_nico.csv": "id,filename,split,y,a\n", "a/1.jpg": ""}),
    "wilds": ("wilds", {"metadata.csv": "split,location,y,filename\n", "train/1.jpg": ""}),
    "saved": ("huggingface", {"dataset_dict.json": json.dumps({"splits": ["train"]})}),
    "saved split": ("huggingface", {"state.json": "{}"}),
    "imagefolder": ("huggingface", {"train/metadata.jsonl": '{"file_name": "1.jpg", "label": 1}\n', "train/1.jpg": ""}),
    "imagefolder, csv": ("huggingface", {"metadata.csv": "file_name,label\n", "1.jpg": ""}),
    "classes": ("folder", {"cat/1.jpg": "", "dog/1.jpg": ""}),
    "classes below splits": ("folder", {"train/cat/1.jpg": "", "test/cat/1.jpg": ""}),
    "classes beside a table": ("folder", {"cat/1.jpg": "", "notes.csv": "a,b\n"}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path: Path, name: str) -> None:
    source, files = LAYOUTS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = recognise(tmp_path)
    assert found.source == source and found.why


def test_parquet_folders_and_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"x"], "label": [0]}), tmp_path / "train-00000.parquet")
    assert recognise(tmp_path).source == "huggingface"
    for header, source in (
        ("path,label", "table"),
        ("filename,y,a,split", "subpopbench"),
        ("img_filename,y,split,place", "waterbirds"),
        ("image,kind", "table"),
    ):
        path = tmp_path / f"{source}.csv"
        path.write_text(f"{header}\n")
        assert recognise(path).source == source
        assert recognise(path).root == (tmp_path if source == "waterbirds" else path)


def test_what_is_nothing_that_ddb_knows(tmp_path: Path) -> None:
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    with pytest.raises(DataError, match=r"is in no layout that ddb knows.*it holds notes"):
        recognise(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        recognise(tmp_path / "gone")
    (tmp_path / "a.zip").write_text("")
    with pytest.raises(DataError, match=r"is an archive.*; name a folder, or a \.csv or \.parquet file"):
        recognise(tmp_path / "a.zip")


def test_auto_reads_what_was_recognised(folder: Path) -> None:
    assert load_dataset(DataConfig(source="auto", root=str(folder))).fingerprint == (
        load_dataset(DataConfig(root=str(folder))).fingerprint
    )
    text = "path,label\n" + "".join(f"{name}/{n}.png,{name}\n" for name in ("cat", "dog") for n in range(8))
    (folder / "list.csv").write_text(text)
    assert load_dataset(DataConfig(source="auto", root=str(folder / "list.csv"))).samples.num_rows == 16
    with pytest.raises(DataError, match=r"data\.root is empty"):
        load_dataset(DataConfig(source="auto"))
