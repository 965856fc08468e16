"""Backgrounds of the pocket world. Each painter fills a supersampled canvas; coordinates are pixels of that canvas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from ddb.pocket.shapes import Tone

PlacePainter = Callable[[np.random.Generator, int], Image.Image]


def forest(rng: np.random.Generator, side: int) -> Image.Image:
    """Trunks and foliage above a brown or mossy floor."""
    horizon = int(side * rng.uniform(0.55, 0.78))
    top = jitter(rng, (58, 96, 50), 16)
    canvas = gradient(side, top, jitter(rng, (104, 138, 78), 18))
    draw = ImageDraw.Draw(canvas)
    floor = jitter(rng, (106, 84, 54) if rng.random() < 0.6 else (92, 104, 58), 14)
    draw.rectangle((0, horizon, side, side), fill=floor)
    for _ in range(int(rng.integers(3, 8))):
        x = rng.uniform(-0.05, 1.0) * side
        width = rng.uniform(0.03, 0.09) * side
        lean = rng.uniform(-0.05, 0.05) * side
        foot = horizon + rng.uniform(-0.02, 0.1) * side
        tone = jitter(rng, (78, 58, 40), 14)
        draw.polygon([(x + lean, 0), (x + lean + width, 0), (x + width * 1.2, foot), (x, foot)], fill=tone)
    for _ in range(int(rng.integers(9, 16))):
        blob(draw, rng, side, (0.0, 0.45), (0.07, 0.16), jitter(rng, (48, 100, 44), 22))
    for _ in range(int(rng.integers(5, 11))):
        blob(draw, rng, side, (horizon / side, 1.0), (0.03, 0.09), jitter(rng, floor, 20))
    return canvas


def lake(rng: np.random.Generator, side: int) -> Image.Image:
    """Sky, a far shore and water with ripples."""
    horizon = int(side * rng.uniform(0.2, 0.42))
    canvas = gradient(side, jitter(rng, (74, 122, 158), 16), jitter(rng, (46, 88, 124), 16))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, side, horizon), fill=jitter(rng, (178, 200, 214), 18))
    for _ in range(int(rng.integers(1, 4))):
        blob(draw, rng, side, (0.0, 0.5 * horizon / side), (0.06, 0.14), jitter(rng, (222, 226, 230), 10))
    shore = jitter(rng, (92, 112, 92), 16)
    xs = np.linspace(0, side, 9)
    ridge = horizon - side * rng.uniform(0.01, 0.09, size=9)
    draw.polygon([(0, horizon), *zip(xs.tolist(), ridge.tolist(), strict=True), (side, horizon)], fill=shore)
    for _ in range(int(rng.integers(10, 19))):
        depth = rng.random()
        y = horizon + (0.06 + 0.94 * depth) * (side - horizon)
        x, length = rng.uniform(-0.1, 0.9) * side, rng.uniform(0.1, 0.34) * side
        height = (0.008 + 0.022 * depth) * side
        tone = jitter(rng, (110, 152, 182) if rng.random() < 0.6 else (42, 78, 112), 12)
        draw.ellipse((x, y - height, x + length, y + height), fill=tone)
    return canvas


PLACES: dict[str, PlacePainter] = {"forest": forest, "lake": lake}
PHRASES: dict[str, str] = {"forest": "in a forest", "lake": "on a lake"}


def gradient(side: int, top: Tone, bottom: Tone) -> Image.Image:
    """A canvas that fades from top to bottom."""
    t = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    rows = (1 - t) * np.array(top, np.float32) + t * np.array(bottom, np.float32)
    return Image.fromarray(np.broadcast_to(rows, (side, side, 3)).astype(np.uint8))


def blob(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    side: int,
    rows: tuple[float, float],
    radius: tuple[float, float],
    tone: Tone,
) -> None:
    """A flat ellipse somewhere between two heights; heights and radius are shares of the side."""
    x, y = rng.random() * side, rng.uniform(*rows) * side
    rx = rng.uniform(*radius) * side
    ry = rx * rng.uniform(0.5, 0.9)
    draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=tone)


def jitter(rng: np.random.Generator, tone: Tone, amount: float) -> Tone:
    """A tone near this one, by up to `amount` levels."""
    shift = rng.uniform(-amount, amount, size=4)  # one common shift of brightness and one of each channel
    r, g, b = (int(min(255, max(0, v + shift[0] + 0.5 * d))) for v, d in zip(tone, shift[1:], strict=True))
    return r, g, b
