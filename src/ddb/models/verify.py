"""Verification of weights on this disk against the published ones, without contacting the hub."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ddb.models import hub
from ddb.models.roles import Wanted

State = Literal["verified", "not pinned", "wrong revision", "corrupt", "missing"]
HEADER_LIMIT = 100_000_000
"""Longest header that safetensors itself reads, bytes."""


@dataclass(frozen=True)
class Verdict:
    """`state`, the checked folder (None where there is none), and a description of the fault."""

    state: State
    folder: Path | None = None
    detail: str = ""


def verify(wanted: Wanted) -> Verdict:
    """Compare the files in the hub's cache with the known commit and hashes.

    verified: the known commit, and the hash of every file is the name of its blob or the hash of the role.
    not pinned: undamaged files, but no commit is known. wrong revision: another commit than the known one.
    """
    folder = hub.cached(wanted)
    if folder is None:
        if others := hub.other_revisions(wanted):
            detail = f"the cache holds commit {others[0].name}, wanted is {wanted.pinned}"
            return Verdict("wrong revision", others[0], detail)
        return Verdict("missing", None, f"not in {hub.cache_folder()}")
    hashes = wanted.role.hashes if wanted.role else {}
    if faults := list(_faults(folder, hashes)):
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        return Verdict("corrupt", folder, faults[0] + more)
    if folder.name == wanted.pinned:
        return Verdict("verified", folder)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")}
    if hashes and names <= set(hashes):
        return Verdict("verified", folder, "a mirror's files, each with the known hash")
    return Verdict("not pinned", folder, f"commit {folder.name}, which ddb does not know to be right")


def verify_folder(folder: Path) -> Verdict:
    """The verdict on a local folder or file: never "verified", since no published hashes are known for it."""
    if not folder.exists():
        return Verdict("missing", None, f"{folder}: no such folder or file")
    faults = list(_faults(folder, {}))
    return Verdict("corrupt", folder, faults[0]) if faults else Verdict("not pinned", folder, "a local folder or file")


def _faults(folder: Path, hashes: Mapping[str, str]) -> Iterable[str]:
    """What is wrong with the files of a snapshot, a line each."""
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if not path.is_dir())
    if not any(path.suffix == ".safetensors" for path in files):
        yield f"{folder}: no safetensors file"
    for name in hashes:
        if not (folder / name).exists():
            yield f"{folder / name}: missing"
    for path in files:
        name = path.relative_to(folder).as_posix() if folder.is_dir() else path.name
        if not path.exists():
            yield f"{path}: points to a file that is gone"
        elif path.suffix == ".safetensors" and (fault := header_fault(path)):
            yield f"{path}: {fault}"
        elif (expected := hashes.get(name) or _blob_name(path)) and _digest(path, expected) != expected:
            yield f"{path}: its content is not what its hash says"


def header_fault(path: Path) -> str:
    """The fault of a safetensors file, "" where there is none: checks that the header is JSON and that the file has the
    length that follows from it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, HEADER_LIMIT):
            return "cut short, or no safetensors file"
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            return "its header cannot be read"
    expected = 8 + length + max(ends, default=0)
    return "" if size == expected else f"{size} bytes, its header says {expected}"


def _blob_name(path: Path) -> str:
    """The name of a file's blob in the hub's cache: SHA-256 of large files, git's SHA-1 of small ones; else ""."""
    target = path.resolve()
    return (
        target.name if target.parent.name == "blobs" and re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", target.name) else ""
    )


def _digest(path: Path, like: str) -> str:
    """The hash of a file of the same kind as `like`."""
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
