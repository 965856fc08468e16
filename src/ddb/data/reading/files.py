"""Checks of image files: whether each decodes, and the hash of its content.

Results are cached in `files.parquet` of the cache folder by path, size and modification time, so that the next command
on the same run folder reads no image at its start.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.data.images import check
from ddb.errors import DataError

MISSING = "the file does not exist"
RULES = 2
"""Version of the rules by which `ddb.data.images` refuses files; cached results of another version are not used."""
BYTES_A_PIXEL = 8
"""Four channels of 16 bits: a file with more bytes than this for each allowed pixel is not read."""
METADATA_BYTES = 1 << 26
""" ... and as many for its metadata."""
_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # absolute
        ("size", pa.int64()),  # bytes
        ("modified", pa.int64()),  # nanoseconds
        ("max_megapixels", pa.float64()),
        ("rules", pa.int64()),  # RULES
        ("sha256", pa.string()),  # hex
        ("reason", pa.string()),  # why the file cannot be used; "" where it can
    ]
)


@dataclass(frozen=True)
class Checked:
    """One file, as in `_SCHEMA`."""

    path: str
    size: int
    modified: int
    max_megapixels: float
    rules: int
    sha256: str
    reason: str


def check_files(paths: Iterable[Path], max_megapixels: float, cache: Path | None) -> dict[Path, Checked]:
    """Check files that need not exist. Each is read and decoded at most once; as many at a time as there are cores."""
    known = _read_cache(cache / "files.parquet") if cache else {}

    def one(path: Path) -> Checked:
        try:
            facts = path.stat()
            before = known.get(str(path))
            stamp = (facts.st_size, facts.st_mtime_ns, max_megapixels, RULES)
            if before and (before.size, before.modified, before.max_megapixels, before.rules) == stamp:
                return before
            if facts.st_size > max_megapixels * 1e6 * BYTES_A_PIXEL + METADATA_BYTES:
                reason = f"{facts.st_size / 1e6:.0f} MB, more than data.max_megapixels = {max_megapixels:g} can need"
                return Checked(str(path), *stamp, "", reason)
            return Checked(str(path), *stamp, *_examine(path.read_bytes(), max_megapixels))
        except FileNotFoundError:
            return Checked(str(path), -1, -1, max_megapixels, RULES, "", MISSING)
        except OSError as error:
            return Checked(str(path), -1, -1, max_megapixels, RULES, "", f"cannot be read: {error.strerror}")

    paths = list(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(paths, pool.map(one, paths), strict=True))
    if cache and any(known.get(found.path) != found for found in results.values()):
        _write_cache(cache / "files.parquet", known | {found.path: found for found in results.values()})
    return results


def _examine(data: bytes, max_megapixels: float) -> tuple[str, str]:
    """(SHA-256, reason)."""
    digest = hashlib.sha256(data).hexdigest()
    try:
        check(data, max_megapixels)
    except DataError as error:
        return digest, str(error)
    return digest, ""


def _read_cache(path: Path) -> dict[str, Checked]:
    if not path.is_file():
        return {}
    try:
        rows = pq.read_table(path, schema=_SCHEMA).to_pylist()
    except (pa.ArrowException, OSError):  # a damaged cache is ignored: the files are read again
        return {}
    return {row["path"]: Checked(**row) for row in rows}


def _write_cache(path: Path, found: dict[str, Checked]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    pq.write_table(pa.Table.from_pylist([asdict(item) for item in found.values()], _SCHEMA), temporary)
    os.replace(temporary, path)
