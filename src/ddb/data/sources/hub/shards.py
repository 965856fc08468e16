"""Arrow and Parquet files that hold images: the files of a data set, their columns and their rows.

Two layouts of Hugging Face `datasets`: what `save_to_disk` writes (Arrow streams named in `state.json`, a folder for
each split in `dataset_dict.json`), and folders of Parquet files as on the hub, whose split is a word in the path
(`data/train-00000-of-00012.parquet`, `validation/0000.parquet`). They are read with pyarrow alone: `datasets` would
first copy Parquet into a cache of its own. No script of a data set is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.data.images import resolve_inside
from ddb.data.reading.json_text import parse_json
from ddb.data.sources.hub.configurations import check_one_configuration
from ddb.data.sources.layout.split_names import split_in_path
from ddb.data.sources.layout.tree import is_run_folder
from ddb.errors import DataError

BATCH = 32
"""Rows that are held in memory at a time."""
PARQUET = (".parquet", ".pq")
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)


@dataclass(frozen=True)
class Shard:
    """One file; `split`: one of `SPLITS`, or None where its path names none."""

    path: Path
    split: str | None


@dataclass(frozen=True)
class Column:
    """`names`: of the classes, where the column is a ClassLabel; else empty. `kind`: its Arrow type, for people."""

    name: str
    image: bool
    names: tuple[str, ...] = ()
    kind: str = ""


def find_shards(folder: Path) -> list[Shard]:
    """The files of a data set, sorted by name; empty where `folder` is no such data set. `folder` may be one Parquet
    file. DataError: a file that `state.json` names is missing or outside the folder; several configurations."""
    if folder.is_file():
        return [Shard(folder, split_in_path(folder.stem))] if folder.suffix.lower() in PARQUET else []
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits", [])
        found = [_saved(resolve_inside(folder, str(name)), split_in_path(str(name))) for name in splits]
        return [shard for shards in found for shard in shards]
    if (folder / "state.json").is_file():
        return _saved(folder, None)
    visible = list(_parquet_files(folder))
    check_one_configuration(folder, visible)
    return [Shard(folder / path, split_in_path(path.with_suffix("").as_posix())) for path in visible]


def _parquet_files(folder: Path) -> Iterator[Path]:
    """Paths relative to `folder`, sorted; hidden files and files in run folders are skipped."""
    found = []
    for name, inner, files in os.walk(folder):
        inner[:] = [] if is_run_folder(files) else [child for child in inner if not child.startswith(".")]
        here = [Path(name) / file for file in files if not file.startswith(".") and not is_run_folder(files)]
        found += [path for path in here if path.suffix.lower() in PARQUET and path.stem != "metadata"]
    yield from (path.relative_to(folder) for path in sorted(found))


def read_columns(path: Path) -> list[Column]:
    """The columns of a shard, from its schema alone. DataError if the file is damaged."""
    schema = _schema(path)
    try:
        described = parse_json((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    except (ValueError, AttributeError):  # metadata of another program under the same key
        described = {}
    return [_column(field, described.get(field.name)) for field in schema]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a shard with these columns, a batch in memory at a time. DataError if the file is damaged."""
    try:
        if path.suffix.lower() in PARQUET:
            for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=list(columns)):
                yield from batch.to_pylist()
            return
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                chosen = batch.select(list(columns))
                for start in range(0, chosen.num_rows, BATCH):
                    yield from chosen.slice(start, BATCH).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _column(field: Any, described: Any) -> Column:
    kind = described.get("_type") if isinstance(described, dict) else None
    image = kind == "Image" if kind else _holds_bytes(field.type)
    names = tuple(described.get("names", ())) if kind == "ClassLabel" else ()
    return Column(field.name, image, names, str(field.type))


def _holds_bytes(kind: Any) -> bool:
    """Whether a type can hold encoded images: bytes of any width, or a struct of them and a path."""
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and _holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    return any(is_kind(kind) for is_kind in _BYTES)


def _schema(path: Path) -> Any:
    try:
        if path.suffix.lower() in PARQUET:
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


def _json(path: Path) -> dict[str, Any]:
    try:
        held = parse_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}") from error
    return held if isinstance(held, dict) else {}
