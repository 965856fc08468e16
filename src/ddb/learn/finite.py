"""Checks for numbers that are not finite, row by row, so that one bad row does not affect the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ddb.errors import StageFailed

NAMED = 3
"""Number of rows that a message names."""


def row_faults(**columns: npt.NDArray[np.floating]) -> list[str]:
    """The text of column `error` for each row: "" where all its numbers are finite, else the names of those that are
    not.

    `columns`: name -> float [N] or [N, ...] of the same N. `row_faults(logits=z, loss=l)` may give
    ["", "logits and loss are not finite"].
    """
    bad = {name: ~np.isfinite(values).reshape(len(values), -1).all(axis=1) for name, values in columns.items()}
    names = ([name for name, rows in bad.items() if rows[row]] for row in range(len(next(iter(bad.values())))))
    return [f"{' and '.join(found)} {_VERB[len(found) > 1]} not finite" if found else "" for found in names]


_VERB = ("is", "are")


def require_finite(what: str, values: npt.NDArray[np.floating], rows: Sequence[str] | None = None) -> None:
    """StageFailed where a row of `values` [N, ...] holds a number that is not finite. The message gives the number of
    such rows and names the first ones by `rows` (default: their numbers from 1)."""
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(bad):
        named = ", ".join(rows[i] if rows else f"image {i + 1}" for i in bad[:NAMED].tolist())
        raise StageFailed(
            f"{what} not finite for {len(bad)} of {len(values)} images ({named}{', ...' if len(bad) > NAMED else ''}). "
            "Train with a lower lr or precision fp32, or check the weights."
        )
