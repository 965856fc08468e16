"""The balanced data set: the images of a run and its kept counterfactuals, in folders that any trainer can read.

    OUT/{train,val,test}/<class>/<hash>.<suffix>   images; torchvision.datasets.ImageFolder reads OUT/train
    OUT/{train,val,test}/metadata.parquet          the columns of `COLUMNS`, a row an image: Hugging Face imagefolder
    OUT/masks/<2 digits>/<hash>.png                255 = what changed (counterfactual), or what was to be repainted
    OUT/samples.csv                                the rows of all splits for spreadsheets, with class names
    OUT/README.md                                  this, and which folder holds which class

Counterfactuals are in train alone. Files are named by the hash of their id; masks have the name of their image.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ddb.data.class_folders import class_folders
from ddb.data.counterfactuals import Counterfactuals, Rebuilt
from ddb.data.images import mask_png, png_bytes, portable, resolve_inside
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.records import OK, SPLITS

Row = dict[str, Any]

COLUMNS = pa.schema(
    [
        ("file_name", pa.string()),  # path relative to the split's folder
        ("label", pa.int64()),
        ("id", pa.string()),  # of the sample, or of the candidate
        ("synthetic", pa.bool_()),
        ("original_file_name", pa.string()),  # what a counterfactual was made from; null for originals, as below
        ("mask_path", pa.string()),  # relative to OUT; also for originals that have a mask
        ("from_label", pa.int64()),
        ("psi", pa.float32()),  # ERM softmax of from_label
        ("rho", pa.float32()),
        ("seed", pa.int64()),
        ("model", pa.string()),
    ]
)
SHEET = ("file", "label", "id", "synthetic", "from_label", "psi", "rho", "seed", "model")
ROWS = 512
"""Rows of metadata that are in memory at once."""
README = """# Balanced data set

Written by ddb: the original images of each split, and in `train` the kept counterfactuals (`synthetic` is true), which
are training images with the object repainted as another class and the background as it was.

- `train`, `val`, `test`: a folder a class, for `torchvision.datasets.ImageFolder` and the like. The folders sort in the
  order of the labels.
- `metadata.parquet` in each of them is read by `load_dataset("imagefolder", data_dir="balanced")` of Hugging Face
  `datasets`. `original_file_name` is the image that a counterfactual was made from, `mask_path` lies below this folder.
- `masks`: 255 where a counterfactual differs from its original, or where an original was to be repainted.
- `samples.csv`: the same rows for spreadsheets.

The images are copies: changing them does not change the originals.
"""


def export_balanced(counterfactuals: Counterfactuals, out: Path) -> Path:
    """Write the images of the data set and the kept counterfactuals of its training images to `out`, replacing it as a
    whole, and return it. Reads the stages segment, inpaint, score and prune.

    Originals are copied, not linked, so changes in `out` do not affect them. Those that other readers would decode
    differently (not RGB, or with an EXIF orientation) are converted to PNG. DataError: the disk is full, an original is
    missing or damaged, a counterfactual's source has changed.
    """
    draft = out.parent / f".{out.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _write(counterfactuals, draft)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(draft, out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error} ({error.filename or out})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def _write(counterfactuals: Counterfactuals, draft: Path) -> None:
    dataset = counterfactuals.dataset
    folders = class_folders(dataset.classes)
    draft.mkdir(parents=True)
    masks = _write_masks(counterfactuals, draft)
    with (draft / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        sheet = csv.DictWriter(file, SHEET)
        sheet.writeheader()
        for split in SPLITS:
            if not dataset.split(split).num_rows:
                continue
            for folder in folders:
                (draft / split / folder).mkdir(parents=True)
            files: dict[str, str] = {}
            rows = _write_originals(dataset, split, folders, masks, draft)
            kept = _write_kept(counterfactuals, files, folders, draft) if split == "train" else ()
            schema = _schema(dataset.classes)
            with pq.ParquetWriter(draft / split / "metadata.parquet", schema) as metadata:
                for chunk in _chunks(chain(_noted(rows, files), kept)):
                    metadata.write_table(pa.Table.from_pylist(chunk, schema))
                    sheet.writerows(_sheet_row(row, split, dataset.classes) for row in chunk)
    (draft / "README.md").write_text(_readme(dataset.classes, folders), encoding="utf-8")


def _noted(rows: Iterable[Row], files: dict[str, str]) -> Iterator[Row]:
    """Yield `rows` and store id -> file_name of each in `files`."""
    for row in rows:
        files[row["id"]] = row["file_name"]
        yield row


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    return iter(lambda: list(islice(rows, ROWS)), [])


def _write_masks(counterfactuals: Counterfactuals, draft: Path) -> set[str]:
    """Write the masks of originals; ids of the samples that have one."""
    table = counterfactuals.tables.table("segment", ("id", "status"))
    ids = [row["id"] for row in table.to_pylist() if row["status"] == OK]
    for name, png in zip(ids, counterfactuals.tables.payload("segment", "mask", ids), strict=True):
        _put_mask(draft, name, png)
    return set(ids)


def _put_mask(draft: Path, identity: str, png: bytes) -> None:
    path = draft / _mask_path(identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)


def _write_originals(
    dataset: Dataset, split: str, folders: Sequence[str], masks: set[str], draft: Path
) -> Iterator[Row]:
    """Rows of the samples of a split, in order. Files are copied in threads."""

    def copy(sample: Row) -> Row:
        path = dataset.root / sample["image"]
        try:
            data, suffix = portable(resolve_inside(dataset.root, sample["image"]).read_bytes())
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}. Put the file back and run again") from error
        except DataError as error:
            raise DataError(f"{path} changed since it was checked: {error}. Put it back and run again") from error
        name = f"{folders[sample['label']]}/{_hash(sample['id'])}{suffix}"
        (draft / split / name).write_bytes(data)
        mask = _mask_path(sample["id"]) if sample["id"] in masks else None
        known = {"label": sample["label"], "id": sample["id"], "synthetic": False}
        return {"file_name": name, "mask_path": mask, **known}

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in dataset.split(split).to_batches(max_chunksize=ROWS):
            yield from pool.map(copy, batch.to_pylist())


def _write_kept(
    counterfactuals: Counterfactuals, files: Mapping[str, str], folders: Sequence[str], draft: Path
) -> Iterator[Row]:
    """Rows of the kept counterfactuals of training samples, in the candidates' order. `files`: sample id -> file."""
    found = counterfactuals
    chosen = [row for row in np.flatnonzero(found.kept).tolist() if found.source_ids[row] in files]
    scores = found.tables.table("score", ("id", "psi_from", "rho"))
    columns = (scores[name].to_pylist() for name in ("id", "psi_from", "rho"))
    known = {name: {"psi": psi, "rho": rho} for name, psi, rho in zip(*columns, strict=True)}
    seeds, models = (found.columns[name].to_pylist() for name in ("seed", "model"))

    def put(rebuilt: Rebuilt) -> Row:
        row, identity = rebuilt.row, found.ids[rebuilt.row]
        label, source = int(found.to_labels[row]), found.source_ids[row]
        name = f"{folders[label]}/{_hash(identity)}.png"
        (draft / "train" / name).write_bytes(png_bytes(rebuilt.image))
        _put_mask(draft, identity, mask_png(rebuilt.changed))
        return {
            "file_name": name,
            "label": label,
            "id": identity,
            "synthetic": True,
            "original_file_name": files[source],
            "mask_path": _mask_path(identity),
            "from_label": int(found.from_labels[row]),
            **known[identity],
            "seed": seeds[row],
            "model": models[row],
        }

    yield from found.each(chosen, put)


def _schema(classes: Sequence[str]) -> pa.Schema:
    """`COLUMNS` with the class names, in the form that the `datasets` library reads from Parquet metadata."""
    names = {"names": list(classes), "_type": "ClassLabel"}
    features = {
        field.name: names
        if field.name in ("label", "from_label")
        else {"dtype": {"float": "float32"}.get(str(field.type), str(field.type)), "_type": "Value"}
        for field in COLUMNS
    }
    return COLUMNS.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _sheet_row(row: Row, split: str, classes: Sequence[str]) -> Row:
    origin = row.get("from_label")
    return {
        "file": _inert(f"{split}/{row['file_name']}"),
        "label": _inert(classes[row["label"]]),
        "id": _inert(row["id"]),
        "synthetic": int(row["synthetic"]),
        "from_label": "" if origin is None else _inert(classes[origin]),
        **{name: row.get(name) for name in ("psi", "rho", "seed")},
        "model": _inert(row.get("model") or ""),
    }


def _inert(text: str) -> str:
    """Text that no spreadsheet reads as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _readme(classes: Sequence[str], folders: Sequence[str]) -> str:
    named = enumerate(zip(classes, folders, strict=True))
    table = [f"| {label} | {_cell(name)} | `{folder}` |" for label, (name, folder) in named]
    return "\n".join([README, "| label | class | folder |", "|---|---|---|", *table, ""])


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return "".join(letter if letter.isprintable() else " " for letter in text).replace("|", "\\|")


def _mask_path(identity: str) -> str:
    """Path of a mask below OUT. No part of it is a word that `datasets` reads as a split."""
    name = _hash(identity)
    return f"masks/{name[:2]}/{name}.png"


def _hash(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
