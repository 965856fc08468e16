"""The pocket world's renderer: from an object and a place to an image, its causal mask, attributes and caption.

Three families, after the three benchmarks of the paper: birds on land or water, cats and dogs beside things of a room
or of a park, hair on one of two types of face (the face is the place). A bird may have a thing beside it (`beside.py`).

A scene is data (`Scene`); `render` turns it into pixels and is a pure function of it, so the same scene with another
body plan is the true counterfactual of an image: same background, light, position and noise, another subject.
A family of objects is one entry of `FAMILIES`: how to sample one, its shapes, and its words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ddb.pocket import animals, beside, birds, faces, hair, places, things
from ddb.pocket.beside import Beside
from ddb.pocket.shapes import Shape

SUPERSAMPLE = 3
MASK_COVERAGE = 0.3
"""A pixel belongs to the causal mask when at least this share of it is covered by the object."""


@dataclass(frozen=True)
class Family:
    """A kind of object: `sample(rng, plan)` -> attributes, `outline(attributes)` -> shapes, words for captions, the
    places where it is found. `countable`: the noun takes "a". `anchored`: its shapes have a fixed position."""

    noun: str
    plans: tuple[str, ...]
    kind: type
    sample: Callable[[np.random.Generator, str | None], Any]
    outline: Callable[[Any], list[Shape]]
    phrases: Callable[[Any], dict[str, tuple[str, str]]]
    places: tuple[str, ...]
    countable: bool = True
    anchored: bool = False


FAMILIES: dict[str, Family] = {
    "bird": Family(
        "bird", tuple(birds.PLANS), birds.Bird, birds.sample_bird, birds.outline, birds.caption_phrases,
        tuple(places.PLACES),
    ),
    "animal": Family(
        "animal", tuple(animals.PLANS), animals.Animal, animals.sample_animal, animals.outline, animals.caption_phrases,
        tuple(things.PLACES),
    ),
    "hair": Family(
        "hair", tuple(hair.PLANS), hair.Hair, hair.sample_hair, hair.outline, hair.caption_phrases,
        tuple(faces.PLACES), countable=False, anchored=True,
    ),
}  # fmt: skip
PLACES = {**places.PLACES, **things.PLACES, **faces.PLACES}
PHRASES = {**places.PHRASES, **things.PHRASES, **faces.PHRASES}


@dataclass(frozen=True)
class Scene:
    """Everything that an image shows. `subject` is None for an empty place; `position` in [0,1]^2 moves the subject
    inside the room that its bounding box leaves; `gain` (3 factors) is the light; `noise` is a standard deviation
    in grey levels (0-255); `beside`: a thing that is no part of the subject, None in all worlds but urban."""

    family: str
    subject: Any | None
    place: str
    place_seed: int
    position: tuple[float, float]
    gain: tuple[float, float, float]
    noise: float
    beside: Beside | None = None


@dataclass(frozen=True)
class Picture:
    """`image`: uint8 HWC 0-255; `mask`: bool HW, True where the subject is."""

    image: np.ndarray
    mask: np.ndarray
    scene: Scene


def sample_scene(
    rng: np.random.Generator,
    *,
    family: str = "bird",
    plan: str | None = None,
    place: str | None = None,
    empty: bool = False,
    thing: str | None = None,
) -> Scene:
    """Draw a scene. `plan` None: a chimera of parts; `place` None: any place; `empty` leaves the subject out; `thing`:
    key of `beside.KINDS`, what stands beside the subject."""
    brightness, warmth = rng.uniform(0.84, 1.14), rng.uniform(-0.06, 0.06)
    scene = Scene(
        family=family,
        subject=None if empty else FAMILIES[family].sample(rng, plan),
        place=place or str(rng.choice(list(FAMILIES[family].places))),
        place_seed=int(rng.integers(2**31)),
        position=(float(rng.random()), float(rng.random())),
        gain=(float(brightness * (1 + warmth)), float(brightness), float(brightness * (1 - warmth))),
        noise=float(rng.uniform(0.0, 2.0)),
    )
    if thing is None:
        return scene
    placed = beside.sample_beside(rng, thing)
    return replace(scene, beside=placed, position=beside.bird_position(scene.position, placed))


def counterfactual_scene(scene: Scene, rng: np.random.Generator, plan: str) -> Scene:
    """The same place, light, position, noise and thing with a newly sampled subject of body plan `plan`."""
    return replace(scene, subject=FAMILIES[scene.family].sample(rng, plan))


def render(scene: Scene, size: int = 64) -> Picture:
    """Draw a scene at `size` x `size` pixels."""
    rng = np.random.default_rng(scene.place_seed)
    side = size * SUPERSAMPLE
    canvas = PLACES[scene.place](rng, side)
    cover = Image.new("L", (side, side), 0)
    if scene.beside is not None:
        _rasterise(ImageDraw.Draw(canvas), beside.outline(scene.beside), np.zeros(2), side / 64)
    if scene.subject is not None:
        family = FAMILIES[scene.family]
        shapes = family.outline(scene.subject)
        offset = np.zeros(2) if family.anchored else _place(shapes, scene.position)
        _rasterise(ImageDraw.Draw(canvas), shapes, offset, side / 64)
        _rasterise(ImageDraw.Draw(cover), shapes, offset, side / 64, fill=255)
    pixels = np.asarray(canvas.reduce(SUPERSAMPLE), np.float32)
    pixels = pixels * np.array(scene.gain, np.float32)
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * scene.noise
    mask = np.asarray(cover.reduce(SUPERSAMPLE)) >= MASK_COVERAGE * 255
    return Picture(np.clip(pixels + 0.5, 0, 255).astype(np.uint8), mask, scene)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A sentence about a scene that names a random subset of what is there; never a body plan's name."""
    place = PHRASES[scene.place] if rng.random() < 0.5 else ""
    if scene.subject is None:
        return f"a photo of {place.split(' ', 1)[1] if place else 'nothing'}"
    family = FAMILIES[scene.family]
    looks = [word for word in (scene.subject.size, scene.subject.colour) if rng.random() < 0.5]
    words = list(family.phrases(scene.subject).values())
    rng.shuffle(words)
    named = words[: int(rng.integers(0, len(words) + 1))]
    if rng.random() < 0.5:  # adjectives before the noun, where a learned token will stand
        adjectives = looks + [adjective for adjective, _ in named]
        rng.shuffle(adjectives)
        text = f"a photo of {_with_article(family, [*adjectives, family.noun])}"
    else:
        text = f"a photo of {_with_article(family, [*looks, family.noun])}"
        if named:
            phrases = [phrase for _, phrase in named]
            text += " with " + " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[:-1] else phrases)
    return f"{text} {place}".strip()


def _with_article(family: Family, words: list[str]) -> str:
    """The words, "a" before them where the noun takes one, "an" before a vowel."""
    article = ("an " if words[0][0] in "aeiou" else "a ") if family.countable else ""
    return article + " ".join(words)


def _place(shapes: list[Shape], position: tuple[float, float]) -> np.ndarray:
    """Offset (u) that puts the shapes' bounding box inside the frame, at `position` of the free room."""
    points = np.concatenate([s.points - s.width / 2 for s in shapes] + [s.points + s.width / 2 for s in shapes])
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.maximum(64 - 6 - (high - low), 0)
    # Keep to the middle part of the room: subjects at the very edge leave no background on one side.
    share = 0.15 + 0.7 * np.asarray(position)
    offset: np.ndarray = 3 - low + share * room
    return offset


def _rasterise(
    draw: ImageDraw.ImageDraw, shapes: list[Shape], offset: np.ndarray, scale: float, fill: int | None = None
) -> None:
    """Fill the shapes, moved by `offset` (u), on a canvas of `scale` pixels a u; `fill` None: in their own colours."""
    for shape in shapes:
        points = [tuple(p) for p in ((shape.points + offset) * scale).tolist()]
        tone = shape.colour if fill is None else fill
        if shape.kind == "polygon":
            draw.polygon(points, fill=tone)
        else:
            draw.line(points, fill=tone, width=max(1, round(shape.width * scale)), joint="curve")
