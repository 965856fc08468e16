"""The miniatures of benchmarks: their classes, places and group sizes, and one scene an image.

    waterbirds   landbirds and waterbirds in a forest or on a lake (Sagawa et al. 2020)
    metashift    cats and dogs beside an indoor or outdoor thing (Liang and Zou 2022, indoor/outdoor form)
    celeba       dark and blond hair on a round or square face (Liu et al. 2015: Blond_Hair and Male)
    urban        landbirds and waterbirds in a forest or on a lake, a bench or a boat beside them: two shortcuts, as in
                 UrbanCars (Li et al. 2023)

A group is a class and an attribute, numbered as in the real data sets. An attribute's value stands for one or more
places; in urban, where it is 2 x surroundings + thing, for a place and a thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ddb.config import PocketConfig
from ddb.pocket import things
from ddb.pocket.world import Scene, sample_scene


@dataclass(frozen=True)
class Miniature:
    """`family`: key of `world.FAMILIES`. `plans`: body plan of each class. `places`: places of each attribute.
    `usual`: the value, 0 or 1, that each shortcut has in most training images of each class. `things`: the thing
    beside the object for each attribute (keys of `beside.KINDS`); empty: none."""

    family: str
    plans: tuple[str, str]
    places: tuple[tuple[str, ...], ...]
    usual: tuple[tuple[int, ...], tuple[int, ...]]
    things: tuple[str, ...] = ()


MINIATURES: dict[str, Miniature] = {
    "waterbirds": Miniature("bird", ("landbird", "waterbird"), (("forest",), ("lake",)), ((0,), (1,))),
    "metashift": Miniature("animal", ("cat", "dog"), (tuple(things.INDOOR), tuple(things.OUTDOOR)), ((0,), (1,))),
    "celeba": Miniature("hair", ("dark", "blond"), (("round face",), ("square face",)), ((1,), (0,))),
    "urban": Miniature(
        "bird",
        ("landbird", "waterbird"),
        (("forest",), ("forest",), ("lake",), ("lake",)),
        ((0, 0), (1, 1)),
        ("bench", "boat", "bench", "boat"),
    ),
}
"""By `data.pocket.world`."""


@dataclass(frozen=True)
class Cell:
    """The label, attribute and place of an image to draw, and the thing beside the object (None: none)."""

    label: int
    attribute: int
    place: str
    thing: str | None = None


@dataclass(frozen=True)
class Split:
    """Images to draw. `name`: as in records.SPLITS. `stem`: begins the files' names where the layout is free to choose.
    `stream` keeps the random draws of the splits apart. `shares`: for each shortcut, the share of images in which it
    has the usual value of the class (of class 1 where the classes differ)."""

    name: str
    stem: str
    stream: int
    cells: tuple[Cell, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Item:
    """An image to draw. `id` counts from 1 through the folder, `number` from 1 through the split."""

    id: int
    number: int
    split: Split
    cell: Cell
    scene: Scene


def splits(config: PocketConfig) -> list[Split]:
    """Training images with the world's correlations; validation and test images with as many of each attribute in each
    class (celeba and urban: as many of each group; shares like the training images' would leave a handful of blond
    men)."""
    second = 0.5 if config.world in ("celeba", "urban") else _second(config)
    even = (0.5,) * len(MINIATURES[config.world].usual[0])
    evaluated = (("val", config.val), ("test", config.test))
    return [
        Split("train", "train", 0, *_training(config, config.train)),
        *(
            Split(name, name, stream, _cells(config, count, second, (even, even)), even)
            for stream, (name, count) in enumerate(evaluated, start=1)
        ),
    ]


def familiar(config: PocketConfig, count: int) -> Split:
    """`count` further images with the training images' group shares, as a test split."""
    return Split("test", "familiar", 3, *_training(config, count))


def items(drawn: Sequence[Split], config: PocketConfig) -> Iterator[Item]:
    """Every image of the splits with its scene, groups mixed."""
    world = MINIATURES[config.world]
    count = 0
    for split in drawn:
        order = np.random.default_rng([config.seed, split.stream, 0]).permutation(len(split.cells))
        for number, index in enumerate(order, start=1):
            cell = split.cells[index]
            rng = np.random.default_rng([config.seed, split.stream, number])
            plan = world.plans[cell.label]
            scene = sample_scene(rng, family=world.family, plan=plan, place=cell.place, thing=cell.thing)
            count += 1
            yield Item(count, number, split, cell, scene)


def _training(config: PocketConfig, count: int) -> tuple[tuple[Cell, ...], tuple[float, ...]]:
    """The cells of training images, and the shares that they have in class 1."""
    shares = (config.correlation, config.beside) if config.world == "urban" else (config.correlation,)
    first = (config.square,) if config.world == "celeba" else shares
    return _cells(config, count, _second(config), (first, shares)), shares


def _second(config: PocketConfig) -> float:
    """Share of the class 1 in training images."""
    return {"metashift": 0.5, "celeba": config.blond}.get(config.world, config.waterbirds)


def _cells(
    config: PocketConfig, count: int, second: float, usual: tuple[tuple[float, ...], tuple[float, ...]]
) -> tuple[Cell, ...]:
    """`count` cells in order of groups, each group's size rounded to the nearest whole number. `second`: share of class
    1. `usual`: for each class and shortcut, the share that has the usual value. Shortcuts are independent of each other
    within a class. A group's places take turns."""
    world = MINIATURES[config.world]
    size = round(count * second)
    cells: list[Cell] = []
    for label, images in enumerate((count - size, size)):
        groups = [(0, images)]
        for value, share in zip(world.usual[label], usual[label], strict=True):
            halves = [(attribute, total, round(total * share)) for attribute, total in groups]
            groups = [
                (2 * attribute + chosen, number)
                for attribute, total, fitting in halves
                for chosen, number in ((value, fitting), (1 - value, total - fitting))
            ]
        for attribute, number in groups:
            places, thing = world.places[attribute], world.things[attribute] if world.things else None
            cells += [Cell(label, attribute, places[i % len(places)], thing) for i in range(number)]
    return tuple(cells)
