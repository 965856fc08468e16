"""The small pictures of all counterfactuals that the page holds, and the file that they are kept in.

A page with 1,000 counterfactuals has about two kilobytes for each: originals are stored once for each source, what
changed as a mask without loss, and the quality of photographs follows from their number. They are kept in one file
beside the table of stage inpaint, so that a report can be written again when the source images are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.data.counterfactuals import Counterfactuals, Rebuilt
from ddb.engine import files
from ddb.errors import DataError
from ddb.report.sources import SourcePictures
from ddb.report.thumbnails import at_most, compressed, marked, shrunk_mask

FILE = "small.parquet"
ALL_BYTES = 1_800_000
"""Bytes of all small pictures together (without masks) that are aimed at."""
SIDES = ((4000, 128), (2000, 96), (0, 80))
"""(bytes for a picture, its longest side in pixels), the first that there is room for."""


@dataclass
class SmallPictures:
    """WebP files by counterfactual id (`pictures`, `masks`) and by source id (`originals`); without those that cannot
    be made any more."""

    originals: dict[str, bytes] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    masks: dict[str, bytes] = field(default_factory=dict)


def small_pictures(sources: SourcePictures, ids: Sequence[str]) -> SmallPictures:
    """The small pictures of these counterfactuals. Those that are not stored yet are drawn, and stored."""
    painted = Counterfactuals(sources.run.tables, sources.dataset)
    rows = painted.rows_of(ids).tolist()
    most = ALL_BYTES // max(1, len(ids) + len({painted.source_ids[row] for row in rows}))
    side = next(side for room, side in SIDES if most >= room)
    masks = sources.run.result("segment") if "segment" in sources.run.finished else ""
    keys = {row: f"{side} {most} {masks} {painted.columns['source_sha256'][row].as_py()}" for row in rows}
    store = _Store(sources)
    found = SmallPictures()
    for row, name in zip(rows, ids, strict=True):
        source = painted.source_ids[row]
        for kind, own in (("picture", found.pictures), ("mask", found.masks)):
            if data := store.find(f"{kind} {name} {keys[row]}"):
                own[name] = data
        if data := store.find(f"original {source} {keys[row]}"):
            found.originals[source] = data
    left = sorted(row for row, name in zip(rows, ids, strict=True) if name not in found.masks)
    things = sources.object_masks([painted.source_ids[row] for row in left])
    first = {painted.source_ids[row]: row for row in reversed(left)}

    def draw(one: Rebuilt) -> tuple[bytes, bytes, bytes]:
        source, picture = painted.source_ids[one.row], at_most(one.image, side)
        size = picture.shape[0], picture.shape[1]
        thing = things.get(source)
        mask = marked(shrunk_mask(one.changed, size), None if thing is None else shrunk_mask(thing, size))
        original = compressed(at_most(one.source, side), most) if first[source] == one.row else b""
        return original, compressed(picture, most), mask

    for row, outcome in zip(left, painted.outcomes(left, draw), strict=True):
        name, source = painted.ids[row], painted.source_ids[row]
        if isinstance(outcome, DataError):
            sources.add_problem(source, outcome)
            continue
        original, found.pictures[name], found.masks[name] = outcome
        if original:
            found.originals[source] = original
            store.add(f"original {source} {keys[row]}", original)
        store.add(f"picture {name} {keys[row]}", found.pictures[name])
        store.add(f"mask {name} {keys[row]}", found.masks[name])
    store.close()
    return found


class _Store:
    """Stored pictures by key. What was not asked for is dropped when something new is stored."""

    def __init__(self, sources: SourcePictures) -> None:
        self._path = sources.run.tables.folder("inpaint") / "thumbnails" / FILE
        self._stored: dict[str, bytes] = {}
        self._used: dict[str, bytes] = {}
        self._new = False
        if self._path.is_file():
            try:
                table = pq.read_table(self._path)
            except (pa.ArrowInvalid, OSError):  # damaged: they are drawn again
                return
            self._stored = dict(zip(table["key"].to_pylist(), table["data"].to_pylist(), strict=True))

    def find(self, key: str) -> bytes:
        if data := self._stored.get(key, b""):
            self._used[key] = data
        return data

    def add(self, key: str, data: bytes) -> None:
        self._used[key], self._new = data, True

    def close(self) -> None:
        if self._new:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            keys = sorted(self._used)
            columns = {"key": keys, "data": [self._used[key] for key in keys]}
            schema = pa.schema([("key", pa.string()), ("data", pa.binary())])
            files.write_table(self._path, pa.table(columns, schema=schema))
