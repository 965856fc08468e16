"""The choice of a method's setting: the one with the best validation figures, the first of equals."""

from __future__ import annotations

from collections.abc import Sequence

from ddb.bench.folder import Record
from ddb.errors import StageFailed


def best(fits: Sequence[Record]) -> int:
    """The index of the fit with the highest `figures`, compared from left to right; failed fits have none.

    Raises StageFailed where all failed."""
    tried = [index for index, fit in enumerate(fits) if fit["figures"]]
    if not tried:
        raise StageFailed(f"{fits[0]['title']}: every setting failed. First: {fits[0]['error']}")
    return max(tried, key=lambda index: (tuple(fits[index]["figures"]), -index))
