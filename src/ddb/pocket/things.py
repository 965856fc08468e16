"""Places with a thing in them: a sofa, bed or shelf in a room; a bench, bicycle or tree on a lawn.

Each painter fills a supersampled canvas; coordinates are pixels of that canvas.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ddb.pocket.places import PlacePainter, blob, gradient, jitter
from ddb.pocket.shapes import Tone, shaded

Draw = ImageDraw.ImageDraw
WALLS: tuple[Tone, ...] = ((206, 196, 178), (176, 190, 198), (198, 178, 180), (182, 196, 176))
FLOORS: tuple[Tone, ...] = ((150, 112, 78), (122, 96, 80), (170, 150, 128))
FABRICS: tuple[Tone, ...] = ((120, 60, 70), (66, 92, 120), (92, 112, 84), (150, 130, 100), (96, 84, 116))


def sofa(rng: np.random.Generator, side: int) -> Image.Image:
    """A back, a seat and two arms against the wall."""
    canvas, draw, floor = _room(rng, side)
    tone = jitter(rng, FABRICS[int(rng.integers(len(FABRICS)))], 16)
    left, width = rng.uniform(0.0, 0.14) * side, rng.uniform(0.74, 0.9) * side
    top, seat, foot = floor - rng.uniform(0.26, 0.32) * side, floor - 0.06 * side, floor + 0.12 * side
    draw.rounded_rectangle((left, top, left + width, foot), radius=0.05 * side, fill=shaded(tone, 0.86))
    for third in range(3):
        x = left + 0.08 * side + third * (width - 0.16 * side) / 3
        box = (x, top + 0.05 * side, x + (width - 0.16 * side) / 3 - 0.01 * side, seat)
        draw.rounded_rectangle(box, radius=0.03 * side, fill=tone)
    draw.rectangle((left + 0.06 * side, seat, left + width - 0.06 * side, foot - 0.03 * side), fill=shaded(tone, 1.1))
    for x in (left, left + width - 0.1 * side):
        box = (x, seat - 0.1 * side, x + 0.1 * side, foot)
        draw.rounded_rectangle(box, radius=0.03 * side, fill=shaded(tone, 0.76))
    return canvas


def bed(rng: np.random.Generator, side: int) -> Image.Image:
    """A headboard at one end, pillows and a blanket."""
    canvas, draw, floor = _room(rng, side)
    wood, blanket = jitter(rng, (112, 78, 50), 16), jitter(rng, FABRICS[int(rng.integers(len(FABRICS)))], 20)
    flip = rng.random() < 0.5
    top = floor - rng.uniform(0.06, 0.12) * side

    def box(x0: float, y0: float, x1: float, y1: float, tone: Tone, radius: float = 0.0) -> None:
        a, b = (side - x1, side - x0) if flip else (x0, x1)
        draw.rounded_rectangle((a, y0, b, y1), radius=radius, fill=tone)

    box(0.02 * side, top - 0.24 * side, 0.1 * side, floor + 0.2 * side, wood)
    box(0.08 * side, top, 0.96 * side, floor + 0.12 * side, (232, 228, 220), 0.02 * side)
    box(0.3 * side, top - 0.01 * side, 0.97 * side, floor + 0.14 * side, blanket, 0.02 * side)
    box(0.3 * side, top - 0.01 * side, 0.38 * side, floor + 0.14 * side, shaded(blanket, 1.2))
    box(0.11 * side, top - 0.07 * side, 0.27 * side, top + 0.04 * side, (246, 244, 238), 0.03 * side)
    box(0.9 * side, floor + 0.1 * side, 0.96 * side, floor + 0.22 * side, wood)
    return canvas


def shelf(rng: np.random.Generator, side: int) -> Image.Image:
    """Boards with books."""
    canvas, draw, floor = _room(rng, side)
    wood = jitter(rng, (134, 96, 62), 18)
    left, width = rng.uniform(0.06, 0.3) * side, rng.uniform(0.56, 0.68) * side
    top, rows = rng.uniform(0.02, 0.08) * side, 3
    draw.rectangle((left, top, left + width, floor + 0.02 * side), fill=shaded(wood, 0.6))
    height = (floor - top) / rows
    for row in range(rows):
        base, x = top + (row + 1) * height, left + 0.03 * side
        while x < left + width - 0.08 * side:
            thick, tall = rng.uniform(0.025, 0.06) * side, rng.uniform(0.55, 0.82) * height
            if rng.random() < 0.86:
                tone = jitter(rng, FABRICS[int(rng.integers(len(FABRICS)))], 40)
                draw.rectangle((x, base - tall, x + thick, base), fill=tone)
            x += thick + 0.006 * side
        draw.rectangle((left, base - 0.012 * side, left + width, base + 0.012 * side), fill=wood)
    for x in (left, left + width):
        draw.rectangle((x - 0.015 * side, top, x + 0.015 * side, floor + 0.03 * side), fill=wood)
    return canvas


def bench(rng: np.random.Generator, side: int) -> Image.Image:
    """Slats on two iron legs."""
    canvas, draw, ground = _lawn(rng, side)
    wood, iron = jitter(rng, (142, 96, 56), 18), jitter(rng, (58, 60, 64), 10)
    left, width = rng.uniform(0.0, 0.12) * side, rng.uniform(0.76, 0.92) * side
    seat = ground + rng.uniform(0.0, 0.06) * side
    for x in (left + 0.1 * side, left + width - 0.14 * side):
        draw.rectangle((x, seat - 0.24 * side, x + 0.04 * side, seat + 0.18 * side), fill=iron)
    for row in range(3):
        y = seat - 0.25 * side + row * 0.075 * side
        draw.rectangle((left, y, left + width, y + 0.05 * side), fill=shaded(wood, 0.94 + 0.06 * row))
    draw.rectangle((left, seat, left + width, seat + 0.05 * side), fill=shaded(wood, 1.15))
    return canvas


def bicycle(rng: np.random.Generator, side: int) -> Image.Image:
    """Two wheels, a frame, a saddle and a handlebar."""
    canvas, draw, ground = _lawn(rng, side)
    paint = jitter(rng, ((178, 44, 48), (44, 92, 160), (30, 120, 96))[int(rng.integers(3))], 14)
    radius = rng.uniform(0.17, 0.2) * side
    y = ground + 0.04 * side
    left, right = rng.uniform(0.2, 0.26) * side, rng.uniform(0.74, 0.8) * side
    thin, thick = max(1, round(0.012 * side)), max(1, round(0.026 * side))
    for x in (left, right):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(40, 40, 44), width=thick)
        for angle in np.linspace(0, np.pi, 5)[:-1]:
            dx, dy = radius * np.cos(angle), radius * np.sin(angle)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=(120, 122, 126), width=thin)
    crank, seat, head = (0.46 * side, y), (0.38 * side, y - 0.28 * side), (0.68 * side, y - 0.3 * side)
    for a, b in (((left, y), crank), ((left, y), seat), (crank, seat), (crank, head), (seat, head), (head, (right, y))):
        draw.line((*a, *b), fill=paint, width=thick)
    saddle, bar = seat[1] - 0.05 * side, head[1] - 0.07 * side
    draw.line((*seat, seat[0] - 0.01 * side, saddle), fill=paint, width=thick)
    draw.line((seat[0] - 0.07 * side, saddle, seat[0] + 0.05 * side, saddle), fill=(40, 36, 36), width=2 * thick)
    draw.line((*head, head[0] - 0.01 * side, bar, head[0] + 0.08 * side, bar), fill=(60, 60, 64), width=thick)
    return canvas


def tree(rng: np.random.Generator, side: int) -> Image.Image:
    """A trunk with a round crown."""
    canvas, draw, ground = _lawn(rng, side)
    x, width = rng.uniform(0.25, 0.75) * side, rng.uniform(0.08, 0.12) * side
    draw.polygon(
        [(x - width / 2, 0.3 * side), (x + width / 2, 0.3 * side), (x + width, ground + 0.1 * side),
         (x - width, ground + 0.1 * side)],
        fill=jitter(rng, (92, 66, 44), 14),
    )  # fmt: skip
    for _ in range(int(rng.integers(9, 15))):
        tone = jitter(rng, (62, 116, 50), 24)
        dx, dy = rng.uniform(-0.3, 0.3) * side, rng.uniform(0.0, 0.36) * side
        r = rng.uniform(0.09, 0.17) * side
        draw.ellipse((x + dx - r, dy - 0.8 * r, x + dx + r, dy + 0.8 * r), fill=tone)
    return canvas


INDOOR: dict[str, PlacePainter] = {"sofa": sofa, "bed": bed, "shelf": shelf}
OUTDOOR: dict[str, PlacePainter] = {"bench": bench, "bicycle": bicycle, "tree": tree}
PLACES: dict[str, PlacePainter] = {**INDOOR, **OUTDOOR}
PHRASES: dict[str, str] = {
    "sofa": "beside a sofa",
    "bed": "beside a bed",
    "shelf": "beside a shelf",
    "bench": "beside a bench",
    "bicycle": "beside a bicycle",
    "tree": "beside a tree",
}


def _room(rng: np.random.Generator, side: int) -> tuple[Image.Image, Draw, float]:
    """A wall and a floor; the height of the floor's edge."""
    wall = jitter(rng, WALLS[int(rng.integers(len(WALLS)))], 16)
    canvas = gradient(side, wall, shaded(wall, 0.9))
    draw, edge = ImageDraw.Draw(canvas), side * float(rng.uniform(0.58, 0.7))
    floor = jitter(rng, FLOORS[int(rng.integers(len(FLOORS)))], 14)
    draw.rectangle((0, edge, side, side), fill=floor)
    for row in range(1, 5):
        y = edge + (side - edge) * row**1.5 / 12
        draw.line((0, y, side, y), fill=shaded(floor, 0.86), width=max(1, side // 96))
    draw.rectangle((0, edge - 0.02 * side, side, edge), fill=shaded(wall, 1.12))
    return canvas, draw, edge


def _lawn(rng: np.random.Generator, side: int) -> tuple[Image.Image, Draw, float]:
    """Sky, a hedge and grass; the height of the grass's edge."""
    sky = jitter(rng, (158, 196, 226), 16)
    canvas = gradient(side, sky, shaded(sky, 1.12))
    draw, edge = ImageDraw.Draw(canvas), side * float(rng.uniform(0.5, 0.64))
    grass = jitter(rng, (112, 152, 74), 18)
    for _ in range(6):
        low = (edge - 0.1 * side) / side
        blob(draw, rng, side, (low, low + 0.1), (0.12, 0.22), jitter(rng, (84, 128, 80), 14))
    draw.rectangle((0, edge, side, side), fill=grass)
    for _ in range(int(rng.integers(12, 20))):
        blob(draw, rng, side, (edge / side + 0.04, 1.0), (0.02, 0.06), jitter(rng, grass, 16))
    return canvas, draw, edge
