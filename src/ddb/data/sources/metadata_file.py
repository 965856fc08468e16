"""CSV, Parquet and JSON-lines files that name images, read as text rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.data.reading.file_kinds import what_is
from ddb.data.reading.json_text import parse_json
from ddb.errors import DataError

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class MetadataRow:
    """`line`: 1-based, the header included. `values`: column name -> text, "" where the file has none."""

    line: int
    values: dict[str, str]


def read_metadata(path: Path, required: Sequence[str], optional: Sequence[str]) -> tuple[list[MetadataRow], list[str]]:
    """The rows of a CSV (comma separated, UTF-8 with or without BOM, header), Parquet or JSON-lines file, and the
    faults of single rows. Other columns are ignored. DataError if the file cannot be read, has no header or no rows."""
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.suffix.lower() == ".csv":
        rows, faults = _read_csv(path, required, optional)
    elif path.suffix.lower() in PARQUET:
        rows, faults = _read_parquet(path, required, optional), []
    elif path.suffix.lower() == ".jsonl":
        rows, faults = _read_jsonl(path, required, optional)
    else:
        raise DataError(f"{path} is {what_is(path) or 'of an unknown kind'}; a table is a .csv or .parquet file")
    if not rows and not faults:
        raise DataError(f"{path} has a header but no rows")
    return rows, faults


def column_names(path: Path) -> list[str]:
    """The columns of such a file: its header, or the keys of its first row. DataError if it cannot be read."""
    try:
        if path.suffix.lower() in PARQUET:
            return [str(name) for name in pq.read_schema(path).names]
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix.lower() != ".jsonl":
                return [name.strip() for name in next(csv.reader(file, skipinitialspace=True), [])]
            first = parse_json(file.readline() or "{}")
            return list(first) if isinstance(first, dict) else []
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (OSError, pa.ArrowException, csv.Error, ValueError) as error:
        raise DataError(f"{path} is not a readable {path.suffix.lower()} file: {error}") from error


def _read_csv(path: Path, required: Sequence[str], optional: Sequence[str]) -> tuple[list[MetadataRow], list[str]]:
    rows, faults = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header, required, optional)
            wanted = [(name, column) for column, name in enumerate(header) if name in (*required, *optional)]
            for values in reader:
                if len(values) == len(header):
                    rows.append(MetadataRow(reader.line_num, {name: values[column] for name, column in wanted}))
                elif values:
                    faults.append(f"line {reader.line_num} has {len(values)} values, the header {len(header)}")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: save it as UTF-8 ({error.reason})") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file: {error}") from error
    return rows, faults


def _read_parquet(path: Path, required: Sequence[str], optional: Sequence[str]) -> list[MetadataRow]:
    try:
        header = pq.read_schema(path).names
        _check_header(path, header, required, optional)
        table = pq.read_table(path, columns=[name for name in (*required, *optional) if name in header])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
    return [
        MetadataRow(line, {name: "" if value is None else str(value) for name, value in row.items()})
        for line, row in enumerate(table.to_pylist(), start=2)
    ]


def _read_jsonl(path: Path, required: Sequence[str], optional: Sequence[str]) -> tuple[list[MetadataRow], list[str]]:
    rows, faults = [], []
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: save it as UTF-8 ({error.reason})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = parse_json(line)
        except ValueError:
            found = None
        missing = [name for name in required if not isinstance(found, dict) or found.get(name) is None]
        if not isinstance(found, dict):
            faults.append(f"line {number} is no JSON object")
        elif missing:
            faults.append(f"line {number} has no {', '.join(missing)}")
        else:
            values = {name: "" if found[name] is None else str(found[name]) for name in found if name in optional}
            rows.append(MetadataRow(number, values | {name: str(found[name]) for name in required}))
    return rows, faults


def _check_header(path: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        hint = f"{','.join(required)}" + (f" (and {','.join(optional)} where known)" if optional else "")
        found = ", ".join(header)[:120] or "nothing"
        raise DataError(
            f"{path} line 1: no column {', '.join(missing)}; found: {found}. The file needs a header line: {hint}"
        )
    twice = {name for name in (*required, *optional) if list(header).count(name) > 1}
    if twice:
        raise DataError(f"{path} line 1: column {', '.join(sorted(twice))} stands there twice")
