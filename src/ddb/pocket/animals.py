"""Cats and dogs, built from parts. Shape alone tells the two body plans apart; every colour and size occurs in both.

Lengths are in pixels of a 64x64 image ("u"); `outline` returns shapes in a local frame (x to the animal's front,
y down, origin at the body's centre).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddb.pocket.shapes import Shape, Tone, curve, ellipse, rotate, shaded, sized

COLOURS: dict[str, Tone] = {
    "ginger": (218, 122, 44),
    "grey": (132, 134, 142),
    "black": (44, 42, 48),
    "snowy": (238, 236, 230),
    "brown": (112, 74, 46),
    "cream": (232, 206, 158),
}
SIZES: dict[str, float] = {"small": 0.84, "medium": 0.95, "large": 1.06}

PART_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "ears": ((5.0, 6.5), (8.0, 10.5)),
    "muzzle": ((1.0, 2.0), (5.5, 7.5)),
    "tail": ((13.0, 17.0), (4.0, 6.0)),
    "body": ((0.40, 0.48), (0.60, 0.72)),
}
"""Range of every part's length (u at size 1) under the two body plans: (cat, dog). `body` is height over width."""
PLANS: dict[str, bool] = {"cat": False, "dog": True}
"""Body plan -> True if every part is drawn from its second range."""


@dataclass(frozen=True)
class Animal:
    """The attributes of one animal; lengths in u at size 1, angles in radians."""

    colour: str
    size: str
    ears: float
    muzzle: float
    tail: float
    body: float
    ears_hang: bool
    muzzle_is_long: bool
    tail_is_short: bool
    body_is_stocky: bool
    facing_left: bool
    tilt: float
    head_height: float
    tail_angle: float
    stride: float
    shade: float


def sample_animal(rng: np.random.Generator, plan: str | None = None) -> Animal:
    """Draw an animal. `plan` is a key of `PLANS`, or None for a chimera: each part is of a random body plan."""
    dog = [bool(v) for v in rng.random(4) < 0.5] if plan is None else [PLANS[plan]] * 4
    lengths = [float(rng.uniform(*PART_RANGES[part][flag])) for part, flag in zip(PART_RANGES, dog, strict=True)]
    return Animal(
        colour=str(rng.choice(list(COLOURS))),
        size=str(rng.choice(list(SIZES))),
        ears=lengths[0],
        muzzle=lengths[1],
        tail=lengths[2],
        body=lengths[3],
        ears_hang=dog[0],
        muzzle_is_long=dog[1],
        tail_is_short=dog[2],
        body_is_stocky=dog[3],
        facing_left=bool(rng.random() < 0.5),
        tilt=float(rng.uniform(-0.12, 0.08)),
        head_height=float(rng.uniform(4.0, 7.0)),
        tail_angle=float(rng.uniform(0.5, 1.2)),
        stride=float(rng.uniform(-1.5, 1.5)),
        shade=float(rng.uniform(0.68, 0.84)),
    )


def caption_phrases(animal: Animal) -> dict[str, tuple[str, str]]:
    """Words for each part of an animal, as (adjective before the noun, phrase after "with")."""
    return {
        "ears": ("flop-eared", "hanging ears") if animal.ears_hang else ("prick-eared", "pointed ears"),
        "muzzle": ("long-muzzled", "a long muzzle") if animal.muzzle_is_long else ("flat-faced", "a flat face"),
        "tail": ("short-tailed", "a short tail") if animal.tail_is_short else ("long-tailed", "a long tail"),
        "body": ("stocky", "a stocky body") if animal.body_is_stocky else ("slender", "a slender body"),
    }


def outline(animal: Animal) -> list[Shape]:
    """The animal's shapes in drawing order, in the local frame, scaled by its size."""
    colour = COLOURS[animal.colour]
    dark = shaded(colour, animal.shade) if sum(colour) > 200 else (92, 88, 96)
    half_w = 11.5
    half_h = half_w * animal.body
    shapes = [
        _tail(animal, half_w, half_h, dark),
        *_legs(animal, half_w, half_h, dark, far=True),
        *_legs(animal, half_w, half_h, colour, far=False),
        Shape("polygon", rotate(ellipse(0, 0, half_w, half_h), animal.tilt), colour),
        *_head(animal, half_w, half_h, colour, dark),
    ]
    return sized(shapes, SIZES[animal.size], animal.facing_left)


def _head(animal: Animal, half_w: float, half_h: float, colour: Tone, dark: Tone) -> list[Shape]:
    shoulder = np.array([half_w * 0.72, -half_h * 0.35])
    centre = shoulder + np.array([4.2, -animal.head_height])
    radius = 5.6
    nose = (30, 26, 28) if sum(colour) > 260 else (206, 150, 150)
    eye = (28, 30, 26) if sum(colour) > 260 else (222, 214, 120)
    muzzle = ellipse(centre[0] + 3.4 + animal.muzzle * 0.5, centre[1] + 1.9, 2.4 + animal.muzzle * 0.5, 2.7)
    tip = centre + np.array([5.2 + animal.muzzle, 1.2])
    return [
        Shape("line", np.stack([shoulder, centre]), colour, 6.4),
        *([] if animal.ears_hang else _pricked(animal, centre, radius, colour, dark)),
        Shape("polygon", ellipse(centre[0], centre[1], radius, radius * 0.94), colour),
        Shape("polygon", muzzle, shaded(colour, 1.12)),
        *(_hanging(animal, centre, dark) if animal.ears_hang else []),
        Shape("polygon", ellipse(tip[0], tip[1], 1.1, 0.95), nose),
        Shape("polygon", ellipse(centre[0] + 2.0, centre[1] - 1.4, 1.0, 1.0), eye),
    ]


def _pricked(animal: Animal, centre: np.ndarray, radius: float, colour: Tone, dark: Tone) -> list[Shape]:
    """Two triangles on top of the head."""
    shapes = []
    for x, tone in ((-3.4, dark), (1.4, colour)):
        foot = centre + np.array([x, -radius * 0.55])
        points = np.stack([foot + [-2.2, 0], foot + [-0.4, -animal.ears], foot + [2.4, 0]])
        shapes.append(Shape("polygon", points, tone))
    return shapes


def _hanging(animal: Animal, centre: np.ndarray, dark: Tone) -> list[Shape]:
    """A long ear down the side of the head."""
    flap = rotate(ellipse(0, animal.ears * 0.5, 2.1, animal.ears * 0.55), 0.22)
    return [Shape("polygon", centre + [-3.0, -2.6] + flap, dark)]


def _legs(animal: Animal, half_w: float, half_h: float, colour: Tone, far: bool) -> list[Shape]:
    shapes = []
    thick = 3.6 if animal.body_is_stocky else 2.7
    for x in (-0.62, 0.58):
        swing = -animal.stride if far else animal.stride
        hip = np.array([half_w * x + (2.6 if far else 0.0), half_h * 0.35])
        foot = np.array([hip[0] + swing, half_h + 7.0])
        shapes.append(Shape("line", np.stack([hip, foot, foot + [1.4, 0.0]]), colour, thick))
    return shapes


def _tail(animal: Animal, half_w: float, half_h: float, colour: Tone) -> Shape:
    root = np.array([-half_w * 0.86, -half_h * 0.3])
    up = animal.tail * np.array([-np.cos(animal.tail_angle), -np.sin(animal.tail_angle)])
    bend = root + 0.6 * up + [-0.28 * animal.tail, 0.12 * animal.tail]
    return Shape("line", curve(root, bend, root + up), colour, 3.6 if animal.tail_is_short else 2.2)
