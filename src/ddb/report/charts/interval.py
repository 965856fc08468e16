"""A value with its 95% interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """`value` with the ends of its 95% interval; both ends are None where no interval is known."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float] | None:
        """(low, high), or None where no interval is known."""
        return None if self.low is None or self.high is None else (self.low, self.high)
