"""Which setting of a method is taken: the one with the best validation figures, of equals the first. Nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from ddb.bench.folder import Record
from ddb.errors import StageFailed


def best(fits: Sequence[Record]) -> int:
    """The place of the fit with the highest `figures`, compared from left to right. A fit that failed has none.

    Raises StageFailed where all failed."""
    tried = [place for place, fit in enumerate(fits) if fit["figures"]]
    if not tried:
        raise StageFailed(f"{fits[0]['title']}: every setting failed. First: {fits[0]['error']}")
    return max(tried, key=lambda place: (tuple(fits[place]["figures"]), -place))
