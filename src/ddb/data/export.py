"""The product: training images and kept counterfactuals as a Hugging Face imagefolder that any trainer can read.

    OUT/train/images/<label>/<hash>.<suffix>   images; torchvision.datasets.ImageFolder reads this folder too
    OUT/train/masks/<hash>.png                 255 = repainted
    OUT/train/metadata.parquet                 the columns of `COLUMNS`, a row an image
    OUT/samples.csv                            the same for spreadsheets, with class names

Files are named by the hash of their id: class names and ids come from users and are no safe file names.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.data.images import portable, resolve_inside
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.records import OK

Row = dict[str, Any]

COLUMNS = pa.schema(
    [
        ("file_name", pa.string()),  # paths relative to OUT/train
        ("label", pa.int64()),
        ("id", pa.string()),  # of the sample, or of the candidate
        ("synthetic", pa.bool_()),
        ("original_file_name", pa.string()),  # what a counterfactual was made from; null for originals, as below
        ("mask_file_name", pa.string()),  # also for originals that have a mask
        ("from_label", pa.int64()),
        ("psi", pa.float32()),  # ERM softmax of from_label
        ("rho", pa.float32()),
        ("seed", pa.int64()),
        ("model", pa.string()),
    ]
)
_SHEET = ("file", "label", "id", "synthetic", "from_label", "psi", "rho", "seed", "model")


def export_balanced(
    dataset: Dataset, candidates: pa.Table, verdicts: pa.Table, scores: pa.Table, masks: pa.Table, out: Path
) -> Path:
    """Write the training images of `dataset` and the candidates whose verdict is keep to `out`, replacing it as a
    whole, and return it. The tables have the schemas of `ddb.records`. Original files are copied as they are; only
    those that other readers would see differently (not RGB, or turned by EXIF) become PNG.

    DataError if the disk is full or an original is gone.
    """
    draft = out.parent / f".{out.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        mask_files = _write_masks(masks, draft / "train")
        originals = _write_originals(dataset, mask_files, draft / "train")
        rows = [*originals.values(), *_write_kept(originals, candidates, verdicts, scores, draft / "train")]
        pq.write_table(pa.Table.from_pylist(rows, _schema(dataset.classes)), draft / "train" / "metadata.parquet")
        _write_sheet(rows, dataset.classes, draft / "samples.csv")
        shutil.rmtree(out, ignore_errors=True)
        os.replace(draft, out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise DataError(f"{out} cannot be written: {error.strerror or error} ({error.filename or out})") from error
    return out


def _write_masks(masks: pa.Table, folder: Path) -> dict[str, str]:
    """Sample id -> path of its mask below `folder`."""
    (folder / "masks").mkdir(parents=True)
    files = {}
    for row in masks.select(["id", "mask", "status"]).to_pylist():
        if row["status"] == OK:
            files[row["id"]] = f"masks/{_hash(row['id'])}.png"
            (folder / files[row["id"]]).write_bytes(row["mask"])
    return files


def _write_originals(dataset: Dataset, mask_files: Mapping[str, str], folder: Path) -> dict[str, Row]:
    """Sample id -> row of every training sample."""
    for label in range(len(dataset.classes)):
        (folder / "images" / str(label)).mkdir(parents=True)
    rows = {}
    for sample in dataset.split("train").to_pylist():
        try:
            data, suffix = portable(resolve_inside(dataset.root, sample["image"]).read_bytes())
        except DataError as error:
            raise DataError(f"{dataset.root / sample['image']} changed since it was checked: {error}") from error
        name = f"images/{sample['label']}/{_hash(sample['id'])}{suffix}"
        (folder / name).write_bytes(data)
        rows[sample["id"]] = {
            "file_name": name,
            "label": sample["label"],
            "id": sample["id"],
            "synthetic": False,
            "mask_file_name": mask_files.get(sample["id"]),
        }
    return rows


def _write_kept(
    originals: Mapping[str, Row], candidates: pa.Table, verdicts: pa.Table, scores: pa.Table, folder: Path
) -> list[Row]:
    """Rows of the kept counterfactuals of training samples, in the candidates' order."""
    kept = {row["id"] for row in verdicts.select(["id", "keep"]).to_pylist() if row["keep"]}
    known = {row["id"]: row for row in scores.select(["id", "psi_from", "rho"]).to_pylist()}
    rows = []
    for batch in candidates.to_batches(max_chunksize=256):
        for candidate in batch.to_pylist():
            source = originals.get(candidate["source_id"])
            if source is None or candidate["id"] not in kept:
                continue
            name = f"images/{candidate['to_label']}/{_hash(candidate['id'])}.png"
            (folder / name).write_bytes(candidate["image"])
            rows.append(
                {
                    "file_name": name,
                    "label": candidate["to_label"],
                    "id": candidate["id"],
                    "synthetic": True,
                    "original_file_name": source["file_name"],
                    "mask_file_name": source["mask_file_name"],
                    "from_label": candidate["from_label"],
                    "psi": known[candidate["id"]]["psi_from"],
                    "rho": known[candidate["id"]]["rho"],
                    "seed": candidate["seed"],
                    "model": candidate["model"],
                }
            )
    return rows


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


def _write_sheet(rows: Sequence[Row], classes: Sequence[str], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _SHEET)
        writer.writeheader()
        for row in rows:
            texts = {name: _inert(str(row.get(name) or "")) for name in ("id", "model")}
            label, origin = classes[row["label"]], row.get("from_label")
            labels = {"label": _inert(label), "from_label": "" if origin is None else _inert(classes[origin])}
            numbers = {name: row.get(name) for name in ("psi", "rho", "seed")}
            flags = {"file": f"train/{row['file_name']}", "synthetic": int(row["synthetic"])}
            writer.writerow(texts | labels | numbers | flags)


def _inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _hash(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
