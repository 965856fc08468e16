"""Hair on a face seen from the front. Its colour is the class, independent of length, volume, fringe and waves.

The face is the place (`faces.py`): both are drawn about the same fixed centre, as portraits that were aligned by the
eyes. Lengths are in pixels of a 64x64 image ("u"), in the image's own frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddb.pocket.shapes import Shape, Tone, shaded

CENTRE = (32.0, 33.0)
"""The middle of the face, u."""
SKULL = (12.0, 15.0)
"""Half width and half height of the face, u."""

COLOURS: dict[str, Tone] = {
    "golden": (178, 140, 90),
    "black": (40, 36, 40),
    "brown": (138, 102, 66),
    "grey": (146, 148, 154),
    "auburn": (150, 62, 36),
}
BLOND = ("golden",)
"""Colours of the class that CelebA calls blond."""
SIZES: dict[str, float] = {"short": 6.0, "medium": 17.0, "long": 26.0}
"""Length of the hair below the middle of the face, u."""
PLANS: dict[str, tuple[str, ...]] = {"dark": tuple(name for name in COLOURS if name not in BLOND), "blond": BLOND}
"""Class -> its colours."""


@dataclass(frozen=True)
class Hair:
    """The attributes of one head of hair; `jitter` shifts its colour (3 levels), lengths in u."""

    colour: str
    size: str
    jitter: tuple[float, float, float]
    volume: float
    fringe: float
    has_fringe: bool
    is_wavy: bool
    parting: float
    waves: tuple[float, ...]


def sample_hair(rng: np.random.Generator, plan: str | None = None) -> Hair:
    """Draw hair. `plan` is a key of `PLANS`, or None for any colour."""
    shift = rng.uniform(-20, 20)
    wavy, fringe = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    return Hair(
        colour=str(rng.choice(PLANS[plan] if plan else list(COLOURS))),
        size=str(rng.choice(list(SIZES))),
        jitter=(float(shift), float(shift + rng.uniform(-10, 10)), float(shift + rng.uniform(-15, 15))),
        volume=float(rng.uniform(2.0, 5.0)),
        fringe=float(rng.uniform(5.5, 8.0) if fringe else rng.uniform(1.0, 3.0)),
        has_fringe=fringe,
        is_wavy=wavy,
        parting=float(rng.uniform(-0.7, 0.7)),
        waves=tuple(float(v) for v in rng.uniform(-1, 1, size=12)),
    )


def caption_phrases(hair: Hair) -> dict[str, tuple[str, str]]:
    """Words for each trait, as (adjective before the noun, phrase after "with")."""
    return {
        "fringe": ("fringed", "a fringe") if hair.has_fringe else ("swept-back", "a free forehead"),
        "waves": ("wavy", "waves") if hair.is_wavy else ("straight", "straight strands"),
        "volume": ("full", "much volume") if hair.volume > 3.5 else ("flat", "little volume"),
    }


def outline(hair: Hair) -> list[Shape]:
    """Crown, locks and strands, in drawing order."""
    r, g, b = (int(np.clip(v + d, 0, 255)) for v, d in zip(COLOURS[hair.colour], hair.jitter, strict=True))
    tone: Tone = (r, g, b)
    return [_crown(hair, tone), *(_lock(hair, tone, side) for side in (-1.0, 1.0)), *_strands(hair, tone)]


def _crown(hair: Hair, tone: Tone) -> Shape:
    """A cap over the skull, open below the hairline."""
    (cx, cy), (rx, ry) = CENTRE, SKULL
    t = np.linspace(np.pi, 2 * np.pi, 15)
    outer = np.stack([cx + (rx + hair.volume) * np.cos(t), cy + (ry + hair.volume) * np.sin(t)], axis=1)
    x = np.linspace(rx + hair.volume, -rx - hair.volume, 11)
    line = cy - ry + hair.fringe + 2.5
    depth = np.abs(x / rx - hair.parting) * (0.6 if hair.has_fringe else 2.2)
    inner = np.stack([cx + x, np.minimum(line + depth, cy)], axis=1)
    return Shape("polygon", np.concatenate([outer, inner]), tone)


def _lock(hair: Hair, tone: Tone, side: float) -> Shape:
    """Hair beside the face, down to the hair's length."""
    (cx, cy), (rx, ry) = CENTRE, SKULL
    y = np.linspace(cy - ry * 0.75, cy + SIZES[hair.size], 6)
    sway = np.array(hair.waves[:6] if side < 0 else hair.waves[6:]) * (1.7 if hair.is_wavy else 0.3)
    outer = rx + hair.volume + sway
    inner = rx - 1.4 + 0.3 * sway
    points = np.concatenate([np.stack([outer, y], 1), np.stack([inner, y], 1)[::-1]])
    return Shape("polygon", points * [side, 1.0] + [cx, 0.0], tone)


def _strands(hair: Hair, tone: Tone) -> list[Shape]:
    """Lighter and darker lines along the crown."""
    (cx, cy), (rx, ry) = CENTRE, SKULL
    shapes = []
    for index, x in enumerate((-0.75, -0.35, 0.1, 0.5, 0.85)):
        top = np.array([cx + x * rx * 0.6, cy - ry - hair.volume * 0.55])
        end = np.array([cx + x * (rx + hair.volume * 0.7), cy - ry + hair.fringe])
        shapes.append(Shape("line", np.stack([top, end]), shaded(tone, (0.82, 1.16)[index % 2]), 1.0))
    return shapes
