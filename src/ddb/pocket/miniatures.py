"""The three miniatures of the paper's benchmarks: their classes, places and group sizes, and one scene an image.

    waterbirds   landbirds and waterbirds in a forest or on a lake (Sagawa et al. 2020)
    metashift    cats and dogs beside an indoor or outdoor thing (Liang and Zou 2022, indoor/outdoor form)
    celeba       dark and blond hair on a round or square face (Liu et al. 2015: Blond_Hair and Male)

A group is a class and an attribute, 0 or 1 each, numbered as in the real data sets; an attribute's value stands for one
or more places.
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
    `usual`: the attribute that most training images of each class have."""

    family: str
    plans: tuple[str, str]
    places: tuple[tuple[str, ...], tuple[str, ...]]
    usual: tuple[int, int]


MINIATURES: dict[str, Miniature] = {
    "waterbirds": Miniature("bird", ("landbird", "waterbird"), (("forest",), ("lake",)), (0, 1)),
    "metashift": Miniature("animal", ("cat", "dog"), (tuple(things.INDOOR), tuple(things.OUTDOOR)), (0, 1)),
    "celeba": Miniature("hair", ("dark", "blond"), (("round face",), ("square face",)), (1, 0)),
}
"""By `data.pocket.world`."""


@dataclass(frozen=True)
class Cell:
    """The label, attribute and place of an image to draw."""

    label: int
    attribute: int
    place: str


@dataclass(frozen=True)
class Split:
    """Images to draw. `name`: as in records.SPLITS. `stem`: begins the files' names where the layout is free to choose.
    `stream` keeps the random draws of the splits apart."""

    name: str
    stem: str
    stream: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Item:
    """An image to draw. `id` counts from 1 through the folder, `number` from 1 through the split."""

    id: int
    number: int
    split: Split
    cell: Cell
    scene: Scene


def splits(config: PocketConfig) -> list[Split]:
    """Training images with the world's correlation; validation and test images with as many of each attribute in each
    class (celeba: as many of each group; shares like the training images' would leave a handful of blond men)."""
    share = 0.5 if config.world == "celeba" else _second(config)
    drawn = (("train", config.train), ("val", config.val), ("test", config.test))
    return [
        Split(name, name, stream, _training(config, count) if name == "train" else _cells(config, count, share, 0.5))
        for stream, (name, count) in enumerate(drawn)
    ]


def familiar(config: PocketConfig, count: int) -> Split:
    """`count` further images with the training images' group shares, as a test split."""
    return Split("test", "familiar", 3, _training(config, count))


def items(drawn: Sequence[Split], config: PocketConfig) -> Iterator[Item]:
    """Every image of the splits with its scene, groups mixed."""
    world = MINIATURES[config.world]
    count = 0
    for split in drawn:
        order = np.random.default_rng([config.seed, split.stream, 0]).permutation(len(split.cells))
        for number, index in enumerate(order, start=1):
            cell = split.cells[index]
            rng = np.random.default_rng([config.seed, split.stream, number])
            scene = sample_scene(rng, family=world.family, plan=world.plans[cell.label], place=cell.place)
            count += 1
            yield Item(count, number, split, cell, scene)


def _training(config: PocketConfig, count: int) -> tuple[Cell, ...]:
    first = config.square if config.world == "celeba" else config.correlation
    return _cells(config, count, _second(config), first, config.correlation)


def _second(config: PocketConfig) -> float:
    """Share of the class 1."""
    return {"waterbirds": config.waterbirds, "metashift": 0.5, "celeba": config.blond}[config.world]


def _cells(config: PocketConfig, count: int, second: float, *usual: float) -> tuple[Cell, ...]:
    """`count` cells in order of groups, each group's size rounded to the nearest whole number. `second`: share of class
    1. `usual`: share of each class (one for both) that has its usual attribute. A group's places take turns."""
    world = MINIATURES[config.world]
    size = round(count * second)
    cells: list[Cell] = []
    for label, images, share in ((0, count - size, usual[0]), (1, size, usual[-1])):
        fitting, attribute = round(images * share), world.usual[label]
        for chosen, group in ((attribute, fitting), (1 - attribute, images - fitting)):
            places = world.places[chosen]
            cells += [Cell(label, chosen, places[i % len(places)]) for i in range(group)]
    return tuple(cells)
