"""Files that are either whole or absent: written under a temporary name, synced, renamed, the folder synced."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.errors import DDBError

TEMPORARY = ".tmp"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: OSError) -> bool:
    """True where a write failed for want of room (disk, quota or file size limit)."""
    return error.errno in DISK_FULL


def disk_full(folder: Path) -> DDBError:
    """The message for people; everything written before the failing file is kept."""
    return DDBError(
        f"{folder}: no room left on the disk. Finished parts are kept: make room and run the same command again."
    )


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a temporary file, then put it at `path`. DDBError where the disk is full; no trace is left."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if is_disk_full(error):
            raise disk_full(path.parent) from error
        raise


def write_json(path: Path, value: object) -> None:
    """JSON with sorted keys and a final newline, whole or absent."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def write_table(path: Path, table: pa.Table) -> None:
    """A Parquet file, whole or absent."""
    write_atomic(path, lambda file: pq.write_table(table, file, compression="zstd"))


def read_json(path: Path, keys: Collection[str] = ()) -> dict[str, Any] | None:
    """A JSON object, None where there is no file. Raises DDBError where the file is something else, lacks one of the
    `keys`, or cannot be read."""
    value = read_any_json(path)
    if value is not None and not (isinstance(value, dict) and set(keys) <= value.keys()):
        wanted = f" with {', '.join(keys)}" if keys else ""
        raise DDBError(f"{path}: a JSON object{wanted} is expected. {_remedy(path)}")
    return value


def read_any_json(path: Path) -> Any:
    """Any JSON value, None where there is no file. Raises DDBError where the file is not JSON, or cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DDBError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise DDBError(f"{path}: not readable as JSON ({error}); it is damaged or cut off. {_remedy(path)}") from error


def _remedy(path: Path) -> str:
    if (path.parent / "plan.json").exists():
        return f"Delete the folder {path.parent} to compute it again."
    return "Delete the file: `ddb run` writes it anew."


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporary(root: Path, pattern: str = "**/*") -> None:
    """Remove what a killed process left half written below `root` (pattern `*`: in `root` itself alone)."""
    for path in root.glob(pattern + TEMPORARY):
        if path.is_file():
            path.unlink()
