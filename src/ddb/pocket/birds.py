"""Birds, built from parts. Shape alone tells the two body plans apart; every colour and size occurs in both.

Lengths are in pixels of a 64x64 image ("u"); `outline` returns shapes in a local frame (x to the bird's front,
y down, origin at the body's centre) so that `world.py` can place, flip and rasterise them at any resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ddb.pocket.shapes import Shape, Tone, curve, ellipse, rotate, shaded, sized

COLOURS: dict[str, Tone] = {
    "red": (196, 44, 40),
    "orange": (228, 128, 34),
    "yellow": (232, 206, 58),
    "blue": (44, 74, 178),
    "purple": (132, 62, 150),
    "white": (236, 234, 228),
    "black": (38, 36, 42),
    "pink": (226, 132, 160),
}
SIZES: dict[str, float] = {"small": 0.84, "medium": 0.97, "large": 1.1}
ACCENTS: tuple[Tone, ...] = ((226, 160, 40), (70, 62, 58), (200, 90, 50), (160, 150, 140))

# Range of every part's length (u at size 1) under the two body plans: (short, long).
PART_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "neck": ((0.0, 2.0), (9.0, 13.0)),
    "bill": ((3.0, 4.5), (6.5, 9.0)),
    "legs": ((2.5, 4.5), (8.0, 11.5)),
    "body": ((0.86, 1.0), (0.48, 0.58)),
}
"""`body` is height over width; "short" is the range of round bodies, "long" that of boat-shaped ones."""
PLANS: dict[str, bool] = {"landbird": False, "waterbird": True}
"""Body plan -> True if every part is drawn from its "long" range."""


@dataclass(frozen=True)
class Bird:
    """The attributes of one bird; lengths in u at size 1, angles in radians."""

    colour: str
    size: str
    neck: float
    bill: float
    legs: float
    body: float
    neck_is_long: bool
    bill_is_flat: bool
    legs_are_long: bool
    body_is_boat: bool
    facing_left: bool
    tilt: float
    neck_angle: float
    tail_angle: float
    stride: float
    accent: int
    wing_shade: float


def sample_bird(rng: np.random.Generator, plan: str | None = None) -> Bird:
    """Draw a bird. `plan` is a key of `PLANS`, or None for a chimera whose parts are long or short independently."""
    long = [bool(v) for v in rng.random(4) < 0.5] if plan is None else [PLANS[plan]] * 4
    lengths = [float(rng.uniform(*PART_RANGES[part][flag])) for part, flag in zip(PART_RANGES, long, strict=True)]
    return Bird(
        colour=str(rng.choice(list(COLOURS))),
        size=str(rng.choice(list(SIZES))),
        neck=lengths[0],
        bill=lengths[1],
        legs=lengths[2],
        body=lengths[3],
        neck_is_long=long[0],
        bill_is_flat=long[1],
        legs_are_long=long[2],
        body_is_boat=long[3],
        facing_left=bool(rng.random() < 0.5),
        tilt=float(rng.uniform(-0.22, 0.12)),
        neck_angle=float(rng.uniform(0.95, 1.45)),
        tail_angle=float(rng.uniform(-0.3, 0.5)),
        stride=float(rng.uniform(0.6, 2.4)),
        accent=int(rng.integers(len(ACCENTS))),
        wing_shade=float(rng.uniform(0.62, 0.82)),
    )


def caption_phrases(bird: Bird) -> dict[str, tuple[str, str]]:
    """Words for each part of a bird, as (adjective before the noun, phrase after "with")."""
    return {
        "neck": ("long-necked", "a long neck") if bird.neck_is_long else ("short-necked", "a short neck"),
        "bill": ("flat-billed", "a flat bill") if bird.bill_is_flat else ("cone-billed", "a conical bill"),
        "legs": ("long-legged", "long legs") if bird.legs_are_long else ("short-legged", "short legs"),
        "body": ("boat-bodied", "a boat-shaped body") if bird.body_is_boat else ("round-bodied", "a round body"),
    }


def outline(bird: Bird) -> list[Shape]:
    """The bird's shapes in drawing order, in the local frame, scaled by its size."""
    colour = COLOURS[bird.colour]
    wing = shaded(colour, bird.wing_shade) if sum(colour) > 200 else (92, 90, 98)
    accent = ACCENTS[bird.accent]
    half_w = 10.5 if bird.body_is_boat else 9.4
    half_h = half_w * bird.body
    turn = bird.tilt if not bird.body_is_boat else bird.tilt * 0.5
    shapes = [_tail(bird, half_w, half_h, turn, wing), *_legs(bird, half_w, half_h, accent)]
    body = _boat(half_w, half_h) if bird.body_is_boat else ellipse(0, 0, half_w, half_h)
    shapes.append(Shape("polygon", rotate(body, turn), colour))
    shapes += _neck_and_head(bird, half_w, half_h, turn, colour, accent)
    shapes.append(Shape("polygon", rotate(ellipse(-2.0, -0.4, half_w * 0.56, half_h * 0.5), turn), wing))
    return sized(shapes, SIZES[bird.size], bird.facing_left)


def _neck_and_head(bird: Bird, half_w: float, half_h: float, turn: float, colour: Tone, accent: Tone) -> list[Shape]:
    angle = bird.neck_angle
    root = rotate(np.array([[half_w * 0.62, -half_h * 0.45]]), turn)[0]
    reach = bird.neck + 3.4
    top = root + reach * np.array([math.cos(angle), -math.sin(angle)])
    bow = root + 0.5 * (top - root) + 0.18 * bird.neck * np.array([math.sin(angle), math.cos(angle)])
    head_r = 3.5 if bird.neck_is_long else 4.3
    base_h = 1.0 if bird.bill_is_flat else 2.1
    bill = np.array([[head_r * 0.7, -base_h], [head_r * 0.7 + bird.bill, 0.4], [head_r * 0.7, base_h]])
    if bird.bill_is_flat:  # blunt tip: a flat bill keeps its height to the end
        bill = np.array(
            [
                [head_r * 0.7, -base_h],
                [head_r * 0.7 + bird.bill, -0.4],
                [head_r * 0.7 + bird.bill, 1.0],
                [head_r * 0.7, base_h],
            ]
        )
    eye_tone = (245, 245, 240) if sum(colour) < 260 else (24, 22, 26)
    return [
        Shape("line", curve(root, bow, top), colour, 3.6 if bird.neck_is_long else 5.6),
        Shape("polygon", top + bill, accent),
        Shape("polygon", ellipse(top[0], top[1], head_r, head_r * 0.92), colour),
        Shape("polygon", ellipse(top[0] + 1.3, top[1] - 0.7, 0.95, 0.95), eye_tone),
    ]


def _legs(bird: Bird, half_w: float, half_h: float, accent: Tone) -> list[Shape]:
    shapes = []
    for side in (-1.0, 1.0):
        hip = np.array([0.4 + side * 2.2, half_h * 0.7])
        foot = hip + np.array([side * bird.stride * 0.6, half_h * 0.3 + bird.legs])
        toe = foot + np.array([2.2, 0.0])
        shapes.append(Shape("line", np.stack([hip, foot, toe]), accent, 1.5))
    return shapes


def _tail(bird: Bird, half_w: float, half_h: float, turn: float, colour: Tone) -> Shape:
    length = 5.0
    root = np.array([-half_w * 0.8, -half_h * 0.1])
    tip = root + length * np.array([-math.cos(bird.tail_angle), -math.sin(bird.tail_angle)])
    points = np.stack([root + [0, -2.4], tip + [0, -1.5], tip + [0, 1.5], root + [0, 2.4]])
    return Shape("polygon", rotate(points, turn), colour)


def _boat(half_w: float, half_h: float) -> np.ndarray:
    """A hull: nearly flat back, deep keel, pointed stern."""
    t = np.linspace(0, math.pi, 18)
    keel = np.stack([half_w * np.cos(t), half_h * np.sin(t) ** 0.8], axis=1)
    back = np.stack([-half_w * np.cos(t), -0.75 * half_h * np.sin(t)], axis=1)
    return np.concatenate([keel, back])
