"""The counterfactuals of a run: their list, which are kept and held out, and rebuilding them from patches.

The columns of stage inpaint are read once, patches in windows of bounded size, so that memory does not grow with the
number of counterfactuals. `patches.py` defines the form in which they are stored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb.data.images import Mask, Pixels, decode, resolve_inside
from ddb.data.patches import changed_by, rebuild
from ddb.data.stores.input_file import open_input, write_input
from ddb.data.stores.picture_file import Pictures
from ddb.data.stores.picture_store import for_crops, kept_pictures
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.records import OK, candidate_title
from ddb.tables import Tables

T = TypeVar("T")
Rows = npt.NDArray[np.int64]
"""Positions in the columns of `Counterfactuals`."""

COLUMNS = (
    "id", "source_id", "source_sha256", "from_label", "to_label", "variant", "seed", "box", "height", "width", "model",
    "status",
)  # fmt: skip
WINDOW_ROWS = 256
WINDOW_BYTES = 1 << 29
"""Decoded pixels of sources and counterfactuals that are in memory at once (one pair may be larger)."""


def held_out(source_id: str) -> bool:
    """True for a fixed fifth of the sources, by the hash of their id, so that all counterfactuals of a source are in
    the same part. They are held out from retraining and select its epoch."""
    return hashlib.sha256(source_id.encode()).digest()[0] % 5 == 0


class ToInput(Protocol):
    """Preprocessing of a classifier: `square` gives uint8 [size, size, 3]."""

    @property
    def size(self) -> int: ...

    def square(self, image: Pixels) -> Pixels: ...


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """One counterfactual at its source's size: `source` and `image` uint8 HWC, `changed` bool HW."""

    row: int
    source: Pixels
    image: Pixels
    changed: Mask


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """The counterfactuals that were painted (status ok), in the order of stage inpaint's plan.

    Columns are read on first access. `rows` in the methods are positions in these columns, in any order; pixels are
    read fastest in ascending order. Every source file that is read is compared with the SHA-256 in its rows.
    """

    tables: Tables
    dataset: Dataset

    @cached_property
    def columns(self) -> pa.Table:
        """`COLUMNS` of all rows."""
        table = self.tables.table("inpaint", COLUMNS)
        return table.filter(pc.equal(table["status"], OK))

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @cached_property
    def ids(self) -> list[str]:
        found: list[str] = self.columns["id"].to_pylist()
        return found

    @cached_property
    def source_ids(self) -> list[str]:
        found: list[str] = self.columns["source_id"].to_pylist()
        return found

    @cached_property
    def from_labels(self) -> Rows:
        """Int64 [N]: the class of the source."""
        return self._numbers("from_label")

    @cached_property
    def to_labels(self) -> Rows:
        """Int64 [N]: the class that was painted, the label of the counterfactual."""
        return self._numbers("to_label")

    @cached_property
    def kept(self) -> Mask:
        """Bool [N]: True where the verdict of stage prune is "kept". Needs that stage."""
        verdicts = self.tables.table("prune", ("id", "keep"))
        keep = set(verdicts.filter(verdicts["keep"])["id"].to_pylist())
        return np.fromiter((name in keep for name in self.ids), np.bool_, len(self))

    @cached_property
    def held_out(self) -> Mask:
        """Bool [N]: True where the source belongs to the held-out fifth (`held_out`)."""
        return np.fromiter(map(held_out, self.source_ids), np.bool_, len(self))

    def rows_of(self, ids: Iterable[str]) -> Rows:
        """Positions of counterfactuals by id. KeyError for an id that was not painted."""
        return np.array([self._rows[name] for name in ids], np.int64)

    def images(self, rows: Sequence[int] | Rows) -> Iterator[Rebuilt]:
        """Counterfactuals at full resolution, in the order asked. DataError as `each`."""
        return self.each(rows, lambda rebuilt: rebuilt)

    def each(self, rows: Sequence[int] | Rows, use: Callable[[Rebuilt], T]) -> Iterator[T]:
        """`use` of every counterfactual, in the order asked. It runs in threads, several sources at a time.

        DataError: a source is missing or has changed since it was painted, or a patch is damaged."""
        for outcome in self.outcomes(rows, use):
            if isinstance(outcome, DataError):
                raise outcome
            yield outcome

    def outcomes(self, rows: Sequence[int] | Rows, use: Callable[[Rebuilt], T]) -> Iterator[T | DataError]:
        """As `each`, but for a counterfactual that cannot be rebuilt its DataError is yielded."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for window in self._windows(rows):
                ordered = sorted(set(window))
                patches = dict(zip(ordered, self._patches(ordered), strict=True))
                groups: dict[str, list[int]] = {}
                for row in ordered:
                    groups.setdefault(self.source_ids[row], []).append(row)
                done: dict[int, T | DataError] = {}
                for found in pool.map(partial(self._rebuilt, patches=patches, use=use), groups.values()):
                    done |= found
                yield from (done[row] for row in window)

    def masks(self, rows: Sequence[int] | Rows) -> Iterator[Mask]:
        """The changed pixels of each, bool HW at its source's size, in the order of `rows`. Reads no source. DataError:
        a patch is damaged."""
        for window in self._windows(rows):
            ordered = sorted(set(window))
            patches = dict(zip(ordered, self._patches(ordered), strict=True))
            for row in window:
                try:
                    yield changed_by(self._shapes[row], self._boxes[row], patches[row])
                except DataError as error:
                    raise self._damaged(row, error) from error

    def at_input(self, preprocessing: ToInput, rows: Sequence[int] | Rows, path: Path) -> Pixels:
        """The counterfactuals at a classifier's input size: uint8 [len(rows), S, S, 3], read-only and memory mapped.

        They are written to the file `path` first, in the order of the table, unless it holds these very pixels already
        (a resumed stage; further processes that waited for this one). DataError as `each`, or the disk is full.
        """
        wanted = np.asarray(rows, np.int64)
        key = self._key(preprocessing, wanted)
        shape = (len(wanted), preprocessing.size, preprocessing.size, 3)
        pixels = open_input(path, shape, key)
        if pixels is None:
            order = np.argsort(wanted, kind="stable")
            squares = self.each(wanted[order], lambda rebuilt: preprocessing.square(rebuilt.image))
            write_input(path, shape, key, zip(order.tolist(), squares, strict=True))
            pixels = open_input(path, shape, key)
        if pixels is None:
            raise DataError(f"{path} is not what was written to it: the disk loses data, use another one")
        return pixels

    def pictures(self, size: int, smallest: float, rows: Sequence[int] | Rows, path: Path) -> Pictures:
        """The counterfactuals as training pictures, which random crops are taken from (`picture_store.for_crops` says
        what `size` and `smallest` are), in the rising order of `rows`. They are written to the file `path` first,
        unless it is there: its name has to tell what decides them. DataError as `each`, or the disk is full."""
        drawn = self.each(rows, lambda rebuilt: for_crops(rebuilt.image, size, smallest))
        return kept_pictures(path, len(rows), lambda _: next(drawn), workers=1)  # one after the other, as they come

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def _shapes(self) -> list[tuple[int, int]]:
        return list(zip(self.columns["height"].to_pylist(), self.columns["width"].to_pylist(), strict=True))

    @cached_property
    def _boxes(self) -> list[list[int]]:
        found: list[list[int]] = self.columns["box"].to_pylist()
        return found

    @cached_property
    def _hashes(self) -> list[str]:
        found: list[str] = self.columns["source_sha256"].to_pylist()
        return found

    def _numbers(self, column: str) -> Rows:
        found: Rows = self.columns[column].to_numpy().astype(np.int64)
        return found

    def _windows(self, rows: Sequence[int] | Rows) -> Iterator[list[int]]:
        """`rows` cut where `WINDOW_ROWS` or `WINDOW_BYTES` would be exceeded."""
        window: list[int] = []
        size = 0
        for row in np.asarray(rows, np.int64).tolist():
            height, width = self._shapes[row]
            needed = height * width * 6
            if window and (len(window) == WINDOW_ROWS or size + needed > WINDOW_BYTES):
                yield window
                window, size = [], 0
            window.append(row)
            size += needed
        if window:
            yield window

    def _patches(self, rows: Sequence[int]) -> Iterator[bytes]:
        """The patches of ascending rows; the patch of an empty region is empty."""
        found = self.tables.payload("inpaint", "patch", [self.ids[row] for row in rows])
        return (patch or b"" for patch in found)

    def _rebuilt(
        self, rows: Sequence[int], patches: dict[int, bytes], use: Callable[[Rebuilt], T]
    ) -> dict[int, T | DataError]:
        """`use` of the counterfactuals of one source, which is read once."""
        try:
            source = self._source(rows[0])
        except DataError as error:
            return dict.fromkeys(rows, error)
        found: dict[int, T | DataError] = {}
        for row in rows:
            try:
                image, changed = rebuild(source, self._boxes[row], patches[row])
            except DataError as error:
                found[row] = self._damaged(row, error)
            else:
                found[row] = use(Rebuilt(row, source, image, changed))
        return found

    def _source(self, row: int) -> Pixels:
        """The source of a row, uint8 HWC. DataError: it is missing, or has changed since it was painted."""
        name, where = self.source_ids[row], self.dataset.rows.get(self.source_ids[row])
        if where is None:
            raise DataError(
                f"{name}: the data set has no such image any more, but {self._title(row)} was painted on it"
            )
        image = self.dataset.samples["image"][where].as_py()
        path = self.dataset.root / image
        mend = "Put the file back as it was, or paint on the present data: `ddb run` again"
        try:
            data = resolve_inside(self.dataset.root, image).read_bytes()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}; counterfactuals were painted on it. {mend}") from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != self._hashes[row]:
            raise DataError(
                f"{path} has changed since counterfactuals were painted on it (SHA-256 was {self._hashes[row][:12]}, "
                f"is {digest[:12]}). {mend}"
            )
        try:
            source = decode(data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        if source.shape[:2] != self._shapes[row]:
            raise DataError(f"{path}: decodes to another size than when {self._title(row)} was painted on it")
        return source

    def _damaged(self, row: int, error: DataError) -> DataError:
        folder = self.tables.folder("inpaint")
        return DataError(f"{folder}: counterfactual {self._title(row)}: {error}. Delete that folder to paint again")

    def _title(self, row: int) -> str:
        return candidate_title(self.ids[row], self.dataset.classes)

    def _key(self, preprocessing: ToInput, rows: Rows) -> bytes:
        """SHA-256 of everything that the pixels at the input size depend on."""
        digest = hashlib.sha256(f"{preprocessing!r} {self.tables.folder('inpaint').name}".encode())
        for row in rows.tolist():
            digest.update(f"{self.ids[row]} {self._hashes[row]} {self._boxes[row]}\n".encode())
        return digest.digest()
