"""Seeds derived from the name of what is drawn, so that they do not depend on the order of draws."""

from __future__ import annotations

import hashlib
import json


def seed_of(*parts: int | str) -> int:
    """A seed in [0, 2**63) from the SHA-256 of its parts: the run's seed, then the names of what is drawn."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
