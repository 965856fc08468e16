"""Numbers that are not finite, found where they arise: row by row, so that one bad row spoils no other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ddb.errors import StageFailed

NAMED = 3
"""Rows that a message names."""


def row_faults(**columns: npt.NDArray[np.floating]) -> list[str]:
    """For each row, the text for its column `error`: "" where all its numbers are finite, else what is not.

    `columns`: name -> float [N] or [N, ...] of the same N. `row_faults(logits=z, loss=l)` may give
    ["", "logits and loss are not finite"].
    """
    bad = {name: ~np.isfinite(values).reshape(len(values), -1).all(axis=1) for name, values in columns.items()}
    names = ([name for name, rows in bad.items() if rows[row]] for row in range(len(next(iter(bad.values())))))
    return [f"{' and '.join(found)} {_VERB[len(found) > 1]} not finite" if found else "" for found in names]


_VERB = ("is", "are")


def require_finite(what: str, values: npt.NDArray[np.floating], rows: Sequence[str] | None = None) -> None:
    """StageFailed where a row of `values` [N, ...] holds a number that is not finite: the message says how many, and
    names the first by `rows` (default: their numbers from 1)."""
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(bad):
        named = ", ".join(rows[i] if rows else f"image {i + 1}" for i in bad[:NAMED].tolist())
        raise StageFailed(
            f"{what} not finite for {len(bad)} of {len(values)} images ({named}{', ...' if len(bad) > NAMED else ''}). "
            "Train with a lower lr or precision fp32, or check the weights."
        )
