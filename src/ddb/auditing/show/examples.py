"""Examples for the page: an image, its composites with what is predicted on them, and its attribution map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.auditing.images import Scene
from ddb.auditing.measures.parts import ERASED, OTHER_OBJECT, OTHER_SURROUNDINGS, WHOLE, Taken, composites
from ddb.report.thumbnails import data_uri, heated

COUNT = 8
CAPTIONS = {
    WHOLE: "image",
    OTHER_SURROUNDINGS: "other surroundings",
    ERASED: "object erased",
    OTHER_OBJECT: "other object",
}


@dataclass(frozen=True)
class Shown:
    """A picture (data URI) and what is predicted on it: a class and its probability. `predicted` "": a map."""

    uri: str
    caption: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Example:
    """An image of class `name`, with parts of an image of class `donor`."""

    id: str
    name: str
    donor: str
    pictures: tuple[Shown, ...]


Examples = tuple[Example, ...]


def examples(
    scenes: Sequence[Scene],
    donors: Sequence[Scene],
    taken: Taken | None,
    classes: Sequence[str],
    maps: Mapping[str, npt.NDArray[np.float32]],
) -> Examples:
    """The first images of every class in turn, those with an attribution map (by id) before others; never picked by
    their looks."""
    if taken is None:
        return ()
    found = []
    for row in _chosen(scenes, maps):
        made = composites(scenes[row], donors[row])
        pictures = [_shown(name, made[name], taken.probabilities[name][row], classes) for name in CAPTIONS]
        if scenes[row].id in maps:
            pictures.append(Shown(data_uri(heat_map(maps[scenes[row].id])), "attribution", "", 0.0))
        found.append(Example(scenes[row].id, classes[scenes[row].label], classes[donors[row].label], tuple(pictures)))
    return tuple(found)


def heat_map(attribution: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """|attribution| [S, S] as colours, each map on its own scale: uint8 [S, S, 3]."""
    size = np.abs(attribution)
    return heated((255 * size / max(float(size.max()), 1e-12)).astype(np.uint8))


def _shown(
    name: str, pixels: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float64], classes: Sequence[str]
) -> Shown:
    top = int(probabilities.argmax())
    return Shown(data_uri(pixels), CAPTIONS[name], classes[top], float(probabilities[top]))


def _chosen(scenes: Sequence[Scene], maps: Mapping[str, object]) -> list[int]:
    order = sorted(range(len(scenes)), key=lambda row: scenes[row].id not in maps)
    turns: dict[int, list[int]] = {}
    for row in order:
        turns.setdefault(scenes[row].label, []).append(row)
    rounds = [(turn, label) for label, own in turns.items() for turn in range(len(own))]
    return [turns[label][turn] for turn, label in sorted(rounds)[:COUNT]]
