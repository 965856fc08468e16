"""Content hashes of files; each file is read once per process, unless it changes."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file in hex. OSError if it cannot be read."""
    facts = os.stat(path)
    return _hash(str(path), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=1 << 18)
def _hash(path: str, size: int, modified: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
