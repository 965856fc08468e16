"""Which counterfactuals and representatives the report shows, with their pictures as data URIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from ddb.data.images import read_png
from ddb.records import OK
from ddb.report.reading import Run
from ddb.report.sources import SourcePictures
from ddb.report.thumbnails import LOSSLESS, data_uri, heated
from ddb.tables import Row

PER_DIRECTION = 12
"""Counterfactuals shown of a direction."""
ALL_STRIPS = 36
"""Counterfactuals shown in all, so that many classes do not make a heavy page."""
REPRESENTATIVES = 12
"""Images shown of what a token was learned from."""
ALL_REPRESENTATIVES = 96
"""Such images in all."""
PAINTED = 8
"""Counterfactuals shown of those painted with a token."""
ALL_PAINTED = 64
"""Such counterfactuals in all, so that many classes do not make a heavy page."""


@dataclass(frozen=True)
class Strip:
    """One counterfactual as shown. Picture fields are data URIs, empty where there is no such picture; `psi`,
    `psi_source`, `area` in [0, 1]; `exact`: rho is in closed form, not integrated numerically."""

    id: str
    from_name: str
    to_name: str
    from_label: int
    to_label: int
    reason: str
    original: str
    mask: str
    counterfactual: str
    attribution: str
    psi: float | None
    psi_source: float | None
    rho: float | None
    area: float | None
    exact: bool
    prompt: str
    source: str


@dataclass(frozen=True)
class TokenCard:
    """A class's token. `count`: number of images it was learned from; `representatives`: data URIs of the first of
    them, `painted`: of the first counterfactuals painted with it; `losses`: held-out loss at every check; `problem`:
    the message of a row that failed."""

    name: str
    token: str
    count: int
    representatives: list[str]
    painted: list[str]
    losses: list[float]
    problem: str


def strips(run: Run, pictures: SourcePictures) -> list[Strip]:
    """Counterfactuals of every direction and verdict: the first of each verdict in the table's order, those with an
    attribution map before others; never picked by their looks."""
    heads = [
        (name, (source, target))
        for name, source, target, status in run.rows("inpaint", ("id", "from_label", "to_label", "status"))
        if status == OK
    ]
    chosen = _choose(heads, run.verdicts, _with_attribution(run))
    if not chosen:
        return []
    candidates = _rows(run, "inpaint", ("source_id", "from_label", "to_label", "prompt"), chosen)
    paths = run.image_paths([row["source_id"] for row in candidates.values()])
    scores = _rows(run, "score", ("psi_from", "psi_from_source", "rho", "area", "exact", "status"), chosen)
    maps = {name: png for name, png in run.payload("score", "attribution", chosen) if png}
    found = pictures.counterfactuals(chosen)
    shown = []
    for name in chosen:
        row, score, own = candidates[name], scores.get(name, {}), found[name]
        score = score if score.get("status") == OK else {}
        shown.append(
            Strip(
                id=name,
                from_name=run.class_name(row["from_label"]),
                to_name=run.class_name(row["to_label"]),
                from_label=row["from_label"],
                to_label=row["to_label"],
                reason=run.verdicts.get(name, ""),
                original=own.original,
                mask=own.mask,
                counterfactual=own.counterfactual,
                attribution=data_uri(heated(read_png(maps[name])[..., 0])) if name in maps else "",
                psi=score.get("psi_from"),
                psi_source=score.get("psi_from_source"),
                rho=score.get("rho"),
                area=score.get("area"),
                exact=bool(score.get("exact", True)),
                prompt=row["prompt"] or "",
                source=str(paths.get(row["source_id"], row["source_id"])),
            )
        )
    return shown


def tokens(run: Run, pictures: SourcePictures) -> list[TokenCard]:
    """A card for every class; none where no token was to be learned (copied objects, or no representatives)."""
    rows = list(run.rows("invert", ("label", "token", "representatives", "losses", "status", "error")))
    if not any(token or status != OK for _, token, _, _, status, _ in rows):
        return []
    most = min(REPRESENTATIVES, max(1, ALL_REPRESENTATIVES // len(rows)))
    shown = [name for row in rows for name in (row[2] or ())[:most]]
    originals = pictures.originals("invert", list(dict.fromkeys(shown)))
    painted = _painted(run, [row[0] for row in rows if row[1]], min(PAINTED, max(1, ALL_PAINTED // len(rows))))
    images = pictures.counterfactuals([name for ids in painted.values() for name in ids]) if painted else {}
    cards = []
    for label, token, representatives, losses, status, error in rows:
        ids = representatives or []
        learned_from = [originals[name] for name in ids[:most] if name in originals]
        own = [images[name].counterfactual for name in painted.get(label, ())]
        cards.append(
            TokenCard(
                run.class_name(label),
                token or "",
                len(ids),
                learned_from,
                [uri for uri in own if uri],
                [float(loss) for loss in losses or ()],
                "" if status == OK else error,
            )
        )
    return cards


def are_small(run: Run) -> bool:
    """Whether all pictures of counterfactuals are so small that their pixels may be seen."""
    sizes = list(run.rows("inpaint", ("height", "width")))
    return bool(sizes) and all(max(height or 0, width or 0) <= LOSSLESS for height, width in sizes)


def _choose(candidates: Sequence[tuple[str, tuple[int, int]]], verdicts: dict[str, str], mapped: set[str]) -> list[str]:
    """Ids to show of (id, direction): verdicts take turns within a direction, directions share the page evenly."""
    cells: dict[tuple[int, int], dict[str, list[str]]] = {}
    for name, direction in sorted(candidates, key=lambda row: row[0] not in mapped):
        cells.setdefault(direction, {}).setdefault(verdicts.get(name, ""), []).append(name)
    room = max(1, min(PER_DIRECTION, ALL_STRIPS // max(len(cells), 1)))
    picked: list[str] = []
    for _, by_verdict in sorted(cells.items()):
        kept = by_verdict.pop("kept", [])
        rejected = [name for name in chain.from_iterable(zip_longest(*by_verdict.values())) if name is not None]
        half = max(room // 2, room - len(rejected))
        picked += [*kept[:half], *rejected[: room - min(half, len(kept))]]
    return picked[:ALL_STRIPS]


def _with_attribution(run: Run) -> set[str]:
    """Ids of the scored candidates that have an attribution map; the maps pass by one at a time."""
    ids = [name for (name,) in run.rows("score", ("id",))]
    return {name for name, png in run.payload("score", "attribution", ids) if png}


def _painted(run: Run, labels: Sequence[int], count: int) -> dict[int, list[str]]:
    """Class -> the first `count` counterfactuals of that class, in the table's order."""
    found: dict[int, list[str]] = {label: [] for label in labels}
    for name, target, status in run.rows("inpaint", ("id", "to_label", "status")):
        if status == OK and target in found and len(found[target]) < count:
            found[target].append(name)
    return {label: ids for label, ids in found.items() if ids}


def _rows(run: Run, stage: str, columns: Sequence[str], ids: Sequence[str]) -> dict[str, Row]:
    """Id -> row with these columns, for those of `ids` that the stage has."""
    table = run.table(stage, ("id", *columns))
    own = table.filter(pc.is_in(table["id"].cast(pa.string()), pa.array(ids, pa.string())))
    return {row["id"]: row for row in own.to_pylist()}
