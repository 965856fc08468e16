"""Atomic writing of files: under a temporary name, fsync, rename, fsync of the folder."""

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
    """Whether a write failed because of a full disk, a quota or a file size limit."""
    return error.errno in DISK_FULL


def disk_full(folder: Path) -> DDBError:
    """The message for people; everything written before the failing file is kept."""
    return DDBError(
        f"{folder}: no room left on the disk. Finished parts are kept: make room and run the same command again."
    )


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a temporary file with `write`, then rename it to `path`. DDBError where the disk is full; the temporary
    file is removed."""
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
    """Write JSON with sorted keys and a final newline, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically."""
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
    """Sync the entries of `folder`, so that renames and removals in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporary(root: Path, pattern: str = "**/*") -> None:
    """Remove the temporary files of a killed process below `root` (pattern `*`: in `root` itself alone)."""
    for path in root.glob(pattern + TEMPORARY):
        if path.is_file():
            path.unlink()
