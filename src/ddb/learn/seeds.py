"""Seeds that belong to what is drawn, not to the order in which it is drawn."""

from __future__ import annotations

import hashlib
import json


def seed_of(*parts: int | str) -> int:
    """A seed in [0, 2**63) from the SHA-256 of its parts: the run's seed first, then what the draw is for."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
