"""The folder of drawn and unpacked images where there is no run folder."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """The user's cache folder of ddb: $XDG_CACHE_HOME/ddb, or ~/.cache/ddb."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ddb"
