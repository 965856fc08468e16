"""Arrow and Parquet files that hold images: which belong to a data set, what their columns are, and their rows.

Two layouts of Hugging Face `datasets`: what `save_to_disk` writes (Arrow streams named in `state.json`, a folder for
each split in `dataset_dict.json`), and folders of Parquet files as on the hub, whose split is a word in the path
(`data/train-00000-of-00012.parquet`, `validation/0000.parquet`). Read with pyarrow alone: `datasets` would first copy
Parquet into a cache of its own, and no script of a data set is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.data.images import resolve_inside
from ddb.errors import DataError

BATCH = 256
"""Rows that are held in memory at a time."""
SPLIT_WORDS = {  # as `datasets` finds them (data_files.py)
    "train": "train",
    "training": "train",
    "validation": "val",
    "valid": "val",
    "val": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


@dataclass(frozen=True)
class Shard:
    """One file; `split` is one of `SPLITS`, or None where the data set has none."""

    path: Path
    split: str | None


@dataclass(frozen=True)
class Column:
    """`names`: of the classes, where the column is a ClassLabel; else empty."""

    name: str
    image: bool
    names: tuple[str, ...] = ()


def find_shards(folder: Path) -> list[Shard]:
    """The files of a data set, in the order of their names; none: `folder` is no such data set. DataError: a file that
    `state.json` names is missing or lies elsewhere."""
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits", [])
        found = [_saved(resolve_inside(folder, str(name)), _split_of(str(name))) for name in splits]
        return [shard for shards in found for shard in shards]
    if (folder / "state.json").is_file():
        return _saved(folder, None)
    files = [path for path in sorted(folder.rglob("*.parquet")) if path.stem != "metadata"]
    inner = [path.relative_to(folder) for path in files]
    visible = [path for path in inner if not any(part.startswith(".") for part in path.parts)]
    return [Shard(folder / path, _split_of(path.with_suffix("").as_posix())) for path in visible]


def read_columns(path: Path) -> list[Column]:
    """The columns of a shard, from its schema alone."""
    schema = _schema(path)
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return [_column(field, described.get(field.name)) for field in schema]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a shard with these columns, a batch in memory at a time. DataError if the file is damaged."""
    try:
        if path.suffix == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=list(columns)):
                yield from batch.to_pylist()
            return
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                chosen = batch.select(list(columns))
                for start in range(0, chosen.num_rows, BATCH):
                    yield from chosen.slice(start, BATCH).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _column(field: Any, described: Any) -> Column:
    kind = described.get("_type") if isinstance(described, dict) else None
    if kind is None:
        struct = pa.types.is_struct(field.type) and {field.type.field(i).name for i in range(field.type.num_fields)}
        return Column(field.name, pa.types.is_binary(field.type) or struct == {"bytes", "path"})
    return Column(field.name, kind == "Image", tuple(described.get("names", ())) if kind == "ClassLabel" else ())


def _schema(path: Path) -> Any:
    try:
        if path.suffix == ".parquet":
            return pq.read_schema(path)
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            return reader.schema
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _saved(folder: Path, split: str | None) -> list[Shard]:
    listed = _json(folder / "state.json").get("_data_files", [])
    paths = [resolve_inside(folder, str(item["filename"])) for item in listed]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{folder / 'state.json'} names {path.name}, which is not there: copy the folder again")
    return [Shard(path, split) for path in paths]


def _split_of(path: str) -> str | None:
    """The split that a path names; the last such word decides."""
    words = [word for word in re.split(r"[-._ /0-9]+", path.lower()) if word in SPLIT_WORDS]
    return SPLIT_WORDS[words[-1]] if words else None


def _json(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}") from error
    return held if isinstance(held, dict) else {}
