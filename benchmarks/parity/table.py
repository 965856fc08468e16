"""Both sides beside each other, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.parity.ground import Row
from benchmarks.parity.patches import Patch

from ddb.bench.show.intervals import MeanWithInterval, over_seeds, paired


@dataclass(frozen=True)
class Line:
    """A row with the worst-group accuracies of both sides by seed."""

    row: Row
    public: dict[int, float]
    ours: dict[int, float]

    @property
    def difference(self) -> MeanWithInterval | None:
        """Ours minus theirs, paired by seed."""
        return paired(self.ours, self.public)

    @property
    def verdict(self) -> str:
        """The mean of the public code in the 95% interval of ours over seeds; else whether the paired difference tells
        the two apart."""
        ours, theirs, apart = (
            over_seeds(list(self.ours.values())),
            over_seeds(list(self.public.values())),
            self.difference,
        )
        if ours.low is None or ours.high is None or apart is None or apart.low is None or apart.high is None:
            return "one seed: none"
        if ours.low <= theirs.value <= ours.high:
            return "within"
        return "outside; difference not above chance" if apart.low <= 0 <= apart.high else "differs"


def rendered(lines: Sequence[Line]) -> str:
    """The table of figures."""
    head = ["code", "method", "seeds", "public code", "ours", "ours - public", "verdict"]
    body = [
        [
            line.row.code,
            line.row.title,
            str(len(line.ours)),
            _shown(_mean(line.public)),
            _shown(_mean(line.ours)),
            _shown(line.difference),
            line.verdict,
        ]
        for line in lines
    ]
    return _markdown(head, body)


def sides(rows: Sequence[Row], patches: dict[str, Sequence[Patch]]) -> str:
    """The table of what was theirs, what was ours, and what had to be patched."""
    body = []
    for code in dict.fromkeys(row.code for row in rows):
        own = [row for row in rows if row.code == code]
        theirs = (
            _joined(f"{row.title}: {row.theirs}" for row in own) if len({r.theirs for r in own}) > 1 else own[0].theirs
        )
        why = _joined(patch.why for patch in patches[code] if patch.why)
        body.append([code, theirs, why, _joined(row.departures for row in own if row.departures) or "none known"])
    return _markdown(["code", "what runs of it", "patched", "still different"], body)


def _joined(parts: object) -> str:
    return "; ".join(dict.fromkeys(parts))  # type: ignore[call-overload]


def _mean(values: dict[int, float]) -> MeanWithInterval:
    return over_seeds(list(values.values()))


def _shown(estimate: MeanWithInterval | None) -> str:
    if estimate is None:
        return ""
    half = "" if estimate.half is None else f" ± {100 * estimate.half:.1f}"
    return f"{100 * estimate.value:.1f}{half}"


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
