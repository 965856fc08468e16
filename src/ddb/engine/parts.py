"""Parquet parts of a stage: rows in small row groups, so that pixels are read a few at a time.

A payload column is `large_binary` or a list of it (offsets of 64 bits). Row groups of a table with payload hold at most
`PAYLOAD_ROWS` rows and, beyond one row, `GROUP_BYTES` of payload: this is what reading one row costs, in memory and
time. Other tables have `GROUP_ROWS` rows in a row group.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.errors import DDBError
from ddb.stage import Row

GROUP_ROWS = 1024
PAYLOAD_ROWS = 32
GROUP_BYTES = 1 << 24
GROUPS_KEPT, FILES_KEPT = 4, 16
"""Row groups in memory and files open at the same time, of all parts of a run folder."""
K = TypeVar("K")
T = TypeVar("T")


def is_payload(kind: pa.DataType) -> bool:
    """Whether a column of this type is a payload column (`large_binary`, or a list of it)."""
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return bool(pa.types.is_large_binary(inner))


def payload_names(schema: pa.Schema) -> list[str]:
    """The payload columns of a schema."""
    return [column.name for column in schema if is_payload(column.type)]


class Recent:
    """A cache of the most recently used open files and row groups, bounded whatever the number of parts. `lock`: held
    while one is read, since a file that is open is not for several threads at once."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._files: OrderedDict[Part, pq.ParquetFile] = OrderedDict()
        self._groups: OrderedDict[tuple[Part, int, tuple[str, ...]], pa.Table] = OrderedDict()

    def file(self, part: Part) -> pq.ParquetFile:
        """The part's file, open."""
        return _recall(self._files, part, lambda: pq.ParquetFile(part.path), FILES_KEPT)

    def group(self, part: Part, number: int, columns: tuple[str, ...]) -> pa.Table:
        """These columns of a row group."""

        def read() -> pa.Table:
            return self.file(part).read_row_group(number, columns=list(columns), use_threads=False)

        return _recall(self._groups, (part, number, columns), read, GROUPS_KEPT)

    def forget(self) -> None:
        """Close all files and drop all row groups."""
        self._files.clear()
        self._groups.clear()


def _recall(kept: OrderedDict[K, T], key: K, read: Callable[[], T], most: int) -> T:
    if key not in kept:
        while len(kept) >= most:
            kept.popitem(last=False)
        kept[key] = read()
    kept.move_to_end(key)
    return kept[key]


class Part:
    """A part that is read by column, or by row. Its methods raise DDBError for a damaged file, FileNotFoundError where
    it was removed meanwhile."""

    def __init__(self, path: Path, recent: Recent) -> None:
        self.path, self._recent = path, recent

    @cached_property
    def schema(self) -> pa.Schema:
        return self._read(lambda: self._recent.file(self).schema_arrow)

    @cached_property
    def ids(self) -> list[str]:
        """Ids in the order of the rows."""
        found: list[str] = self.columns(["id"])["id"].to_pylist()
        return found

    @cached_property
    def rows(self) -> dict[str, int]:
        """Id -> row in the file."""
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def _starts(self) -> list[int]:
        """The first row of each row group, and the number of all rows."""
        facts = self._read(lambda: self._recent.file(self).metadata)
        sizes = (facts.row_group(number).num_rows for number in range(facts.num_row_groups))
        return list(accumulate(sizes, initial=0))

    def columns(self, names: Sequence[str]) -> pa.Table:
        """All rows of these columns."""
        return self._read(lambda: self._recent.file(self).read(list(names)).select(list(names)))

    def row(self, name: str, columns: tuple[str, ...]) -> pa.Table:
        """One row as a slice of its row group. KeyError where the part does not have it."""
        row = self.rows[name]
        group = bisect_right(self._starts, row) - 1
        return self._group(group, columns).slice(row - self._starts[group], 1)

    def _group(self, number: int, columns: tuple[str, ...]) -> pa.Table:
        return self._read(lambda: self._recent.group(self, number, columns))

    def _read(self, read: Callable[[], T]) -> T:
        try:
            with self._recent.lock:
                return read()
        except FileNotFoundError:
            raise
        except (pa.ArrowInvalid, OSError) as error:
            raise DDBError(f"{self.path}: damaged ({error}). Delete its folder to compute the stage again.") from error


def write_rows(file: BinaryIO, schema: pa.Schema, rows: Sequence[Row]) -> None:
    """Write rows as a part."""
    payloads = payload_names(schema)
    with _writer(file, schema) as writer:
        for group in _row_groups(rows, payloads):
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=len(group))


def write_in_order(file: BinaryIO, schema: pa.Schema, parts: Sequence[Part], names: Sequence[str]) -> None:
    """Write the rows `names` in this order as one part; of a row that is in several parts, the last part's is used. The
    bytes of the file do not depend on the distribution of the rows over parts. All columns without payload are in
    memory, and the payload of the rows that are written next."""
    payloads = tuple(payload_names(schema))
    flat = [name for name in schema.names if name not in payloads]
    values = pa.concat_tables([schema.empty_table().select(flat), *(part.columns(flat) for part in parts)])
    values, locations = values.combine_chunks(), _locations(parts)
    with _writer(file, schema) as writer:
        for group in _row_groups(_with_payload(names, locations, payloads), payloads):
            table = values.take([locations[row["id"]][1] for row in group])
            for name in payloads:
                column = pa.array([row[name] for row in group], schema.field(name).type)
                table = table.append_column(schema.field(name), column)
            writer.write_table(table.select(schema.names), row_group_size=len(group))


def _locations(parts: Sequence[Part]) -> dict[str, tuple[Part, int]]:
    """Id -> the last part that has it, and its row in the concatenation of all parts."""
    locations: dict[str, tuple[Part, int]] = {}
    start = 0
    for part in parts:
        locations.update({name: (part, start + row) for name, row in part.rows.items()})
        start += len(part.ids)
    return locations


def _with_payload(
    names: Sequence[str], locations: Mapping[str, tuple[Part, int]], payloads: tuple[str, ...]
) -> Iterator[Row]:
    for name in names:
        row = locations[name][0].row(name, payloads) if payloads else None
        yield {"id": name, **({key: row[key][0].as_py() for key in payloads} if row else {})}


def _row_groups(rows: Iterable[Row], payloads: Sequence[str]) -> Iterator[list[Row]]:
    group: list[Row] = []
    full = _Full(payloads)
    for row in rows:
        if full.before(row_bytes(row, payloads)):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


class _Full:
    """Decides where a row group ends."""

    def __init__(self, payloads: Sequence[str]) -> None:
        self._most, self._rows, self._bytes = PAYLOAD_ROWS if payloads else GROUP_ROWS, 0, 0

    def before(self, size: int) -> bool:
        """Whether the next row, of `size` bytes, begins another row group."""
        ends = self._rows == self._most or (self._rows > 0 and self._bytes + size > GROUP_BYTES)
        self._rows, self._bytes = (1, size) if ends else (self._rows + 1, self._bytes + size)
        return ends


def row_bytes(row: Row, payloads: Sequence[str]) -> int:
    """Bytes of a row's payload."""
    values = [row.get(name) for name in payloads]
    return sum(sum(map(len, value)) if isinstance(value, list) else len(value or b"") for value in values)


def _writer(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer without compression and statistics for payloads: they are compressed already (PNG), and statistics would
    contain whole images."""
    payloads = payload_names(schema)
    flat = [name for name in schema.names if name not in payloads]
    compression = {_leaf(schema, name): "none" if name in payloads else "zstd" for name in schema.names}
    return pq.ParquetWriter(file, schema, compression=compression, write_statistics=flat, use_dictionary=flat)


def _leaf(schema: pa.Schema, name: str) -> str:
    """The name of a column's leaf in the file, by which Parquet sets its compression."""
    return f"{name}.list.element" if pa.types.is_list(schema.field(name).type) else name
