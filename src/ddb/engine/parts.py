"""Parquet parts of a stage: rows in small row groups, so that pixels are read a few at a time.

A payload column is `large_binary` or a list of it (offsets of 64 bits). Row groups hold at most `GROUP_ROWS` rows and,
beyond one row, `GROUP_BYTES` of payload: that is the memory that any reader or the bringing into order needs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.errors import DDBError
from ddb.stage import Row

GROUP_ROWS = 256
GROUP_BYTES = 1 << 24
GROUPS_KEPT = 4
"""Row groups that a reader keeps in memory."""


def is_payload(kind: pa.DataType) -> bool:
    """Whether a column of this type holds pixels (or other bytes) rather than a value."""
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return bool(pa.types.is_large_binary(inner))


def payload_names(schema: pa.Schema) -> list[str]:
    """The payload columns of a schema."""
    return [column.name for column in schema if is_payload(column.type)]


def write_rows(file: BinaryIO, schema: pa.Schema, rows: Sequence[Row]) -> None:
    """Rows as a part."""
    payloads = payload_names(schema)
    with _writer(file, schema) as writer:
        for group in _row_groups(rows, payloads):
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=len(group))


@dataclass
class Part:
    """A part that is read by column, or by row. Raises DDBError for a damaged file."""

    path: Path
    _kept: OrderedDict[tuple[int, tuple[str, ...]], pa.Table] = field(default_factory=OrderedDict)

    @cached_property
    def _file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(self.path, error) from error

    @property
    def schema(self) -> pa.Schema:
        return self._file.schema_arrow

    @cached_property
    def ids(self) -> list[str]:
        """Ids in the order of the rows."""
        found: list[str] = self.columns(["id"])["id"].to_pylist()
        return found

    @cached_property
    def _where(self) -> dict[str, tuple[int, int]]:
        """Id -> (row group, row in it)."""
        where, ids = {}, iter(self.ids)
        for group in range(self._file.num_row_groups):
            for row in range(self._file.metadata.row_group(group).num_rows):
                where[next(ids)] = (group, row)
        return where

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def columns(self, names: Sequence[str]) -> pa.Table:
        """All rows of these columns."""
        try:
            return self._file.read(list(names)).select(list(names))
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(self.path, error) from error

    def row(self, name: str, columns: tuple[str, ...]) -> pa.Table:
        """One row as a slice of its row group."""
        group, row = self._where[name]
        return self._group(group, columns).slice(row, 1)

    def _group(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        key = (group, columns)
        if key not in self._kept:
            try:
                self._kept[key] = self._file.read_row_group(group, columns=list(columns))
            except (pa.ArrowInvalid, OSError) as error:
                raise _damaged(self.path, error) from error
            while len(self._kept) > GROUPS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def runs(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """These rows in this order, whole: rows that lie beside each other come as one slice of a row group."""
        columns, start = tuple(self.schema.names), 0
        while start < len(names):
            group, row = self._where[names[start]]
            end = start + 1
            while end < len(names) and self._where[names[end]] == (group, row + end - start):
                end += 1
            yield self._group(group, columns).slice(row, end - start)
            start = end


def write_in_order(file: BinaryIO, schema: pa.Schema, parts: Sequence[Part], names: Sequence[str]) -> None:
    """The rows `names` in this order as one part; of a row that several parts have, the last part's counts. How the
    rows were spread over parts leaves no trace in the file."""
    payloads = payload_names(schema)
    with _writer(file, schema) as writer:
        for group in _table_groups(_in_order(_owners(parts, names), names), payloads):
            table = pa.concat_tables(group).combine_chunks()
            writer.write_table(table, row_group_size=len(table))


def _owners(parts: Sequence[Part], names: Sequence[str]) -> dict[str, Part]:
    owners: dict[str, Part] = {}
    for part in parts:
        owners.update(dict.fromkeys(part.ids, part))
    return {name: owners[name] for name in names}


def _in_order(owners: Mapping[str, Part], names: Sequence[str]) -> Iterator[pa.Table]:
    start = 0
    while start < len(names):
        end = start + 1
        while end < len(names) and owners[names[end]] is owners[names[start]]:
            end += 1
        yield from owners[names[start]].runs(names[start:end])
        start = end


def _table_groups(pieces: Iterable[pa.Table], payloads: Sequence[str]) -> Iterator[list[pa.Table]]:
    """Slices gathered to row groups of the size that the file has, whatever the pieces were."""
    group, rows, size = [], 0, 0
    for piece in pieces:
        start = 0
        for row, one in enumerate(_sizes(piece, payloads)):
            if rows == GROUP_ROWS or (rows and size + one > GROUP_BYTES):
                if row > start:
                    group.append(piece.slice(start, row - start))
                yield group
                group, rows, size, start = [], 0, 0, row
            rows, size = rows + 1, size + one
        group.append(piece.slice(start))
    if group:
        yield group


def _sizes(piece: pa.Table, payloads: Sequence[str]) -> list[int]:
    sizes = [0] * len(piece)
    for name in payloads:
        for row, value in enumerate(piece[name]):
            sizes[row] += _value_bytes(value)
    return sizes


def _value_bytes(value: Any) -> int:
    if not value.is_valid:
        return 0
    return sum(map(_value_bytes, value.values)) if pa.types.is_list(value.type) else value.as_buffer().size


def _row_groups(rows: Sequence[Row], payloads: Sequence[str]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        one = row_bytes(row, payloads)
        if group and (len(group) == GROUP_ROWS or size + one > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(row)
        size += one
    if group:
        yield group


def row_bytes(row: Row, payloads: Sequence[str]) -> int:
    """Bytes of a row's payload."""
    values = [row.get(name) for name in payloads]
    return sum(sum(map(len, value)) if isinstance(value, list) else len(value or b"") for value in values)


def _writer(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """Payloads are compressed already (PNG); their statistics would hold whole images."""
    payloads = payload_names(schema)
    flat = [name for name in schema.names if name not in payloads]
    compression = {_leaf(schema, name): "none" if name in payloads else "zstd" for name in schema.names}
    return pq.ParquetWriter(file, schema, compression=compression, write_statistics=flat, use_dictionary=flat)


def _leaf(schema: pa.Schema, name: str) -> str:
    """The name of a column's leaf in the file, by which Parquet sets its compression."""
    return f"{name}.list.element" if pa.types.is_list(schema.field(name).type) else name


def _damaged(path: Path, error: Exception) -> DDBError:
    return DDBError(f"{path}: damaged ({error}). Delete its folder to compute the stage again.")
