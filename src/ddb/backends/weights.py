"""Where weights lie: "pocket", a local folder, a role of `ddb.models` or a hub id; what names them in fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ddb.backends.content import file_hash
from ddb.errors import ModelError
from ddb.models.roles import ROLES, wanted

KINDS = "`weights` is a local folder, a role of `ddb models list`, a hub id owner/name, or pocket."


def is_local(weights: str) -> bool:
    """True for a path; what is no path here is a role of `ddb models list` or a hub id "owner/name"."""
    path = Path(weights).expanduser()
    return path.exists() or wanted(weights) is None


def find_folder(weights: str, pocket: Callable[[], Path], patterns: Sequence[str]) -> Path:
    """The folder that holds the weights: `pocket()` for "pocket", the path itself, or the hub's cache (downloaded if
    the hub can be reached; files that match `patterns` alone). ModelError if they are missing or gated."""
    if weights == "pocket":
        return pocket()
    published = wanted(weights)
    folder = Path(weights).expanduser()
    if published is None or folder.exists():
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder. {KINDS}")
        return folder
    from ddb.models.hub import fetch

    return fetch(published, patterns)


def identity(weights: str, pocket: Callable[[], Path]) -> str:
    """Name and content hash of local weights; of published ones the name, and the commit that a role is pinned to.

    Asked offline, before any download. ModelError if local weights are missing."""
    if weights != "pocket" and not is_local(weights):
        return _published_identity(weights)
    return f"pocket@{_hash(pocket())}" if weights == "pocket" else content_name(find_folder(weights, pocket, ()))


def content_name(path: Path) -> str:
    """Name and content hash of a local folder or file of weights."""
    return f"{path.name}@{_hash(path)}"


def found_identity(weights: str, pocket: Callable[[], Path], folder: Path) -> str:
    """`identity`, and for hub weights the commit as well: the hub's cache names its folders so."""
    name = identity(weights, pocket)
    return f"{name}@{folder.name[:12]}" if name == weights else name


def _published_identity(weights: str) -> str:
    published = wanted(weights)
    return f"{weights}@{published.pinned[:12]}" if weights in ROLES and published and published.pinned else weights


def _hash(path: Path) -> str:
    """SHA-256 over names and contents of a folder's configuration, tokenizer and weight files, or over a file, 12 hex
    digits."""
    digest = hashlib.sha256()
    kinds = (".json", ".safetensors", ".txt")
    parts = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.suffix in kinds)
    for part in parts:
        digest.update(part.relative_to(path).as_posix().encode())
        digest.update(bytes.fromhex(file_hash(part)))
    return digest.hexdigest()[:12]
