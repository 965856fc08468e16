"""Things that stand beside a bird in the world urban: a second shortcut, apart from the surroundings.

    bench   slats on two iron legs: beside most landbirds
    boat    a hull with a sail: beside most waterbirds

A thing is drawn at the frame's edge and the bird at the opposite one, so that a square region about the bird (side 0.66
of the image, as in the presets) hardly ever holds any of the thing. Both things are painted in greens of the places'
plants: the segmenter of the package, which has seen birds in front of the places and nothing else, takes a thing of
another colour for a part of the bird. Lengths are in pixels of a 64x64 image ("u").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddb.pocket.shapes import Shape, Tone, shaded, sized

WIDTH = 12.0
"""Width of a thing at size 1, u."""
MARGIN = 1.5
"""Distance of a thing from the frame, u."""
BIRD_SHARE = 0.05
"""A bird beside a thing uses this share of its room from left to right: the part that is farthest from the thing."""
SLATS: Tone = (60, 108, 58)
HULL: Tone = (70, 116, 80)
SAIL: Tone = (110, 156, 104)


@dataclass(frozen=True)
class Beside:
    """A thing beside the bird. `kind`: key of `KINDS`; `seed` draws its colour and size; `on_right`: the side of the
    image; `height` in [0, 1] moves its foot from the middle of the image to its lower edge."""

    kind: str
    seed: int
    on_right: bool
    height: float


def sample_beside(rng: np.random.Generator, kind: str) -> Beside:
    return Beside(kind, int(rng.integers(2**31)), bool(rng.random() < 0.5), float(rng.random()))


def bird_position(position: tuple[float, float], beside: Beside) -> tuple[float, float]:
    """The position (as in `world.Scene`) of a bird that leaves room for the thing."""
    x = BIRD_SHARE * position[0]
    return (x if beside.on_right else 1 - x, position[1])


def outline(beside: Beside) -> list[Shape]:
    """The thing's shapes in drawing order, at their place in the 64x64 frame."""
    rng = np.random.default_rng(beside.seed)
    scale = float(rng.uniform(0.92, 1.06))
    shapes = sized(KINDS[beside.kind](rng), scale, mirrored=bool(rng.random() < 0.5))
    half = WIDTH * scale / 2
    x = 64 - MARGIN - half if beside.on_right else MARGIN + half
    foot = np.array([x, 36 + 24 * beside.height])
    return [Shape(shape.kind, shape.points + foot, shape.colour, shape.width) for shape in shapes]


def _bench(rng: np.random.Generator) -> list[Shape]:
    """Origin: on the ground below the middle."""
    tone = shaded(SLATS, float(rng.uniform(0.9, 1.06)))
    legs = [_box(x, -12.5, x + 1.6, 0.0, shaded(tone, 0.6)) for x in (-4.9, 3.3)]
    back = [_box(-6.0, y, 6.0, y + 2.2, shaded(tone, 0.94)) for y in (-12.5, -9.4)]
    return [*legs, *back, _box(-6.0, -6.2, 6.0, -3.6, shaded(tone, 1.15))]


def _boat(rng: np.random.Generator) -> list[Shape]:
    """Origin: below the keel's middle."""
    light = float(rng.uniform(0.92, 1.04))
    hull, sail = shaded(HULL, light), shaded(SAIL, light)
    return [
        _box(-0.6, -19.0, 0.5, -4.0, shaded(hull, 0.6)),
        Shape("polygon", np.array([[0.9, -19.0], [6.0, -5.6], [0.9, -5.6]]), sail),
        Shape("polygon", np.array([[-1.0, -16.0], [-1.0, -5.6], [-5.2, -5.6]]), shaded(sail, 0.9)),
        Shape("polygon", np.array([[-6.0, -4.4], [6.0, -4.4], [4.0, 0.0], [-4.0, 0.0]]), hull),
    ]


KINDS = {"bench": _bench, "boat": _boat}


def _box(left: float, top: float, right: float, bottom: float, tone: Tone) -> Shape:
    return Shape("polygon", np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), tone)
