"""The report's pictures: counterfactual strips, representatives and previews, small and inlined as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from ddb.data.images import Mask, Pixels, read_image, read_mask, read_png
from ddb.errors import DataError
from ddb.records import OK
from ddb.report.reading import Run
from ddb.stage import Row

PER_DIRECTION = 12
"""Strips shown of a direction."""
ALL_STRIPS = 72
"""Strips shown in all, so that many classes do not make a heavy page."""
REPRESENTATIVES = 12
"""Images shown of what a token was learned from."""
THUMB = 160
"""Longest side of a picture in the page, pixels."""
LOSSLESS = 96
"""Pictures up to this side stay PNG, pixel for pixel; larger ones are photographs and become JPEG."""

HEAT = np.array(
    [
        (0, 0, 4),
        (40, 17, 89),
        (101, 26, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ],
    np.float32,
)
"""Colour stops of attribution maps, dark to bright, even in lightness."""


@dataclass(frozen=True)
class Strip:
    """One counterfactual as shown; picture fields are data URIs, empty where there is no such picture."""

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


@dataclass(frozen=True)
class TokenCard:
    """What a class's token was learned from and what it paints."""

    name: str
    token: str
    count: int
    representatives: list[str]
    previews: list[str]
    losses: list[float]
    problem: str


def strips(run: Run) -> list[Strip]:
    """Counterfactuals of every direction and verdict: the first of each verdict in the table's order, those with an
    attribution map before others; never picked by their looks."""
    heads = run.rows("inpaint", ("id", "from_label", "to_label", "status"))
    reasons = {row["id"]: row["reason"] for row in run.rows("prune", ("id", "reason", "status")) if row["status"] == OK}
    mapped = run.ids_with("score", "attribution")
    chosen = _choose([row for row in heads if row["status"] == OK], reasons, mapped)
    candidates = run.rows(
        "inpaint", ("id", "source_id", "from_label", "to_label", "image", "changed", "prompt"), chosen
    )
    columns = ("id", "psi_from", "psi_from_source", "rho", "area", "exact", "attribution")
    scores = {row["id"]: row for row in run.rows("score", columns, chosen)}
    sources = sorted({row["source_id"] for row in candidates})
    masks = {row["id"]: row for row in run.rows("segment", ("id", "object_mask"), sources)}
    return [
        _strip(run, c, scores.get(c["id"], {}), masks.get(c["source_id"], {}), reasons.get(c["id"], ""))
        for c in candidates
    ]


def tokens(run: Run) -> list[TokenCard]:
    columns = ("label", "token", "representatives", "losses", "previews", "status", "error")
    cards = []
    for row in run.rows("invert", columns):
        ids = row["representatives"] or []
        shown = [_thumb(pixels) for key in ids[:REPRESENTATIVES] if (pixels := _source(run, key)) is not None]
        previews = [_thumb(read_png(blob)) for blob in row["previews"] or ()]
        count, problem = len(ids), "" if row["status"] == OK else row["error"]
        name, losses = run.class_name(row["label"]), [float(v) for v in row["losses"] or ()]
        cards.append(TokenCard(name, row["token"] or "", count, shown, previews, losses, problem))
    return cards


def _choose(candidates: Sequence[Row], reasons: dict[str, str], mapped: set[str]) -> list[str]:
    """Ids to show: verdicts take turns within a direction, directions share the page evenly."""
    cells: dict[tuple[int, int], dict[str, list[str]]] = {}
    for row in sorted(candidates, key=lambda row: row["id"] not in mapped):
        verdict = reasons.get(row["id"], "")
        cells.setdefault((row["from_label"], row["to_label"]), {}).setdefault(verdict, []).append(row["id"])
    room = max(1, min(PER_DIRECTION, ALL_STRIPS // max(len(cells), 1)))
    picked: list[str] = []
    for _, by_verdict in sorted(cells.items()):
        kept = by_verdict.pop("kept", [])
        rejected = [key for key in chain.from_iterable(zip_longest(*by_verdict.values())) if key is not None]
        half = max(room // 2, room - len(rejected))
        picked += [*kept[:half], *rejected[: room - min(half, len(kept))]]
    return picked[:ALL_STRIPS]


def _strip(run: Run, candidate: Row, score: Row, masks: Row, reason: str) -> Strip:
    painted = read_png(candidate["image"])
    original = _source(run, candidate["source_id"])
    region, thing = _mask(candidate["changed"]), _mask(masks.get("object_mask"))
    heat = read_png(score["attribution"])[..., 0] if score.get("attribution") else None
    base = original if original is not None else painted
    return Strip(
        id=candidate["id"],
        from_name=run.class_name(candidate["from_label"]),
        to_name=run.class_name(candidate["to_label"]),
        from_label=candidate["from_label"],
        to_label=candidate["to_label"],
        reason=reason,
        original="" if original is None else _thumb(original),
        mask=_thumb(_tinted(base, region, thing)),
        counterfactual=_thumb(painted),
        attribution=_thumb(_heated(heat)),
        psi=score.get("psi_from"),
        psi_source=score.get("psi_from_source"),
        rho=score.get("rho"),
        area=score.get("area"),
        exact=bool(score.get("exact", True)),
        prompt=candidate["prompt"] or "",
    )


def _source(run: Run, key: str) -> Pixels | None:
    """The source image (RGB), or None where the data set has moved away or the file is not an image any more."""
    sample, root = run.samples.get(key), Path(run.dataset.get("root") or "/nonexistent")
    if sample is None or not root.is_dir():
        return None
    try:
        return read_image(root, sample["image"])
    except DataError:
        return None


def _mask(blob: bytes | None) -> Mask | None:
    return read_mask(blob) if blob else None


def _tinted(base: Pixels | None, region: Mask | None, thing: Mask | None) -> Pixels | None:
    """The image as a faint grey ground, the repainted region lightly tinted, the object as found solid."""
    if base is None or region is None or region.shape != base.shape[:2]:
        return None
    grey = base.astype(np.float32).mean(axis=2, keepdims=True)
    out = np.broadcast_to(0.45 * grey + 0.55 * 255, base.shape).copy()
    out[region] = 0.45 * out[region] + 0.55 * np.array((150, 184, 226), np.float32)
    if thing is not None and thing.shape == region.shape:
        out[thing] = (30, 84, 160)
    return out.astype(np.uint8)


def _heated(heat: Pixels | None) -> Pixels | None:
    """|IG| as colour, scaled to the map's own maximum."""
    if heat is None:
        return None
    level = heat.astype(np.float32) / max(int(heat.max()), 1) * (len(HEAT) - 1)
    below = np.minimum(level.astype(np.int64), len(HEAT) - 2)
    part = (level - below)[..., None]
    colours: Pixels = ((1 - part) * HEAT[below] + part * HEAT[below + 1]).astype(np.uint8)
    return colours


def _thumb(pixels: Pixels | None) -> str:
    """A data URI no larger than THUMB pixels a side."""
    if pixels is None:
        return ""
    image, out = Image.fromarray(pixels), io.BytesIO()
    small = max(image.size) <= LOSSLESS
    if not small:
        image.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    image.save(out, "PNG" if small else "JPEG", optimize=True, **({} if small else {"quality": 86}))
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def verdict_order(found: Iterable[Strip]) -> list[str]:
    """The verdicts that occur, kept first."""
    order = ("kept", "psi", "rho", "psi+rho", "over_budget", "")
    present = {strip.reason for strip in found}
    return [reason for reason in order if reason in present]
