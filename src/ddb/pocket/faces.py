"""Faces without hair, as places: what surrounds the hair. Jaw, brows and beard go together and make two face types.

The face stands where `hair.py` puts the hair. Coordinates are pixels of the supersampled canvas.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ddb.pocket.hair import CENTRE, SKULL
from ddb.pocket.places import PlacePainter, gradient, jitter
from ddb.pocket.shapes import Tone, ellipse, shaded

SKINS: tuple[Tone, ...] = ((236, 194, 164), (220, 170, 134), (188, 132, 96), (138, 92, 66))
BACKDROPS: tuple[Tone, ...] = ((150, 166, 186), (176, 168, 150), (126, 150, 130), (168, 146, 166), (108, 112, 124))
CLOTHES: tuple[Tone, ...] = ((70, 84, 130), (150, 60, 66), (82, 118, 86), (190, 186, 178), (60, 60, 66))


def round_face(rng: np.random.Generator, side: int) -> Image.Image:
    """A round jaw, thin brows, red lips."""
    return _portrait(rng, side, square=False)


def square_face(rng: np.random.Generator, side: int) -> Image.Image:
    """A square jaw, thick brows, a beard or its shadow."""
    return _portrait(rng, side, square=True)


PLACES: dict[str, PlacePainter] = {"round face": round_face, "square face": square_face}
PHRASES: dict[str, str] = {"round face": "around a round face", "square face": "around a square face"}


def _portrait(rng: np.random.Generator, side: int, square: bool) -> Image.Image:
    u = side / 64
    backdrop = jitter(rng, BACKDROPS[int(rng.integers(len(BACKDROPS)))], 18)
    canvas = gradient(side, backdrop, shaded(backdrop, float(rng.uniform(0.7, 0.95))))
    draw = ImageDraw.Draw(canvas)
    skin = jitter(rng, SKINS[int(rng.integers(len(SKINS)))], 12)
    cx, cy = CENTRE
    clothes = jitter(rng, CLOTHES[int(rng.integers(len(CLOTHES)))], 16)
    shoulder = rng.uniform(22, 26) if square else rng.uniform(18, 22)
    _fill(draw, ellipse(cx, 68, shoulder, 13), clothes, u)
    neck = 5.8 if square else 4.4
    _fill(draw, np.array([[cx - neck, cy + 8], [cx + neck, cy + 8], [cx + neck, 59], [cx - neck, 59]]), skin, u)
    _fill(draw, _outline(rng, square), skin, u)
    if square:
        _beard(draw, rng, skin, u)
    _features(draw, rng, skin, square, u)
    return canvas


def _outline(rng: np.random.Generator, square: bool) -> np.ndarray:
    """Skull above, jaw below: an ellipse, or wide cheeks that end in a flat chin."""
    (cx, cy), (rx, ry) = CENTRE, SKULL
    t = np.linspace(np.pi, 2 * np.pi, 13)
    skull = np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], axis=1)
    if square:
        chin, corner = rng.uniform(5.5, 7.0), rng.uniform(9.0, 10.5)
        jaw = np.array([[rx, 4.0], [corner + 1, 11.0], [chin, ry], [-chin, ry], [-corner - 1, 11.0], [-rx, 4.0]])
    else:
        t = np.linspace(0, np.pi, 11)
        jaw = np.stack([rx * 0.96 * np.cos(t), rng.uniform(0.9, 1.0) * ry * np.sin(t)], axis=1)
    return np.concatenate([skull, jaw + [cx, cy]])


def _beard(draw: ImageDraw.ImageDraw, rng: np.random.Generator, skin: Tone, u: float) -> None:
    tone = shaded(skin, float(rng.uniform(0.42, 0.68)))
    half = np.array([[8.4, 6.4], [10.6, 4], [9.6, 11.4], [6, 15.4]])
    _fill(draw, np.concatenate([half, half[::-1] * [-1, 1]]) + CENTRE, tone, u)


def _features(draw: ImageDraw.ImageDraw, rng: np.random.Generator, skin: Tone, square: bool, u: float) -> None:
    """Brows, eyes, nose and mouth."""
    cx, cy = CENTRE
    gap, height = rng.uniform(4.8, 5.8), cy - 1.5
    brow = shaded(skin, 0.32) if square else shaded(skin, 0.5)
    thick = rng.uniform(1.7, 2.3) if square else rng.uniform(0.7, 1.0)
    iris = jitter(rng, (70, 90, 110) if rng.random() < 0.5 else (80, 56, 40), 14)
    for x in (-gap, gap):
        _fill(draw, ellipse(cx + x, height, 2.4, 1.35), (240, 240, 236), u)
        _fill(draw, ellipse(cx + x, height, 1.2, 1.25), iris, u)
        _line(draw, [(cx + x - 2.8, height - 3.0), (cx + x + 2.8, height - 3.2)], brow, thick, u)
    _line(draw, [(cx, height + 1.5), (cx + 1.2, cy + 4.2), (cx - 0.8, cy + 4.5)], shaded(skin, 0.78), 0.9, u)
    lips = shaded(skin, 0.62) if square else jitter(rng, (196, 74, 84), 16)
    _fill(draw, ellipse(cx, cy + 8.6, rng.uniform(3.2, 4.4), 0.9 if square else 1.5), lips, u)


def _fill(draw: ImageDraw.ImageDraw, points: np.ndarray, tone: Tone, u: float) -> None:
    draw.polygon([(x * u, y * u) for x, y in points.tolist()], fill=tone)


def _line(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], tone: Tone, width: float, u: float) -> None:
    draw.line([(x * u, y * u) for x, y in points], fill=tone, width=max(1, round(width * u)), joint="curve")
