"""The classes of a model and those of a data set, matched by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt

from ddb.auditing.predictors import Labels, Maps, Predictor, Probabilities
from ddb.data.images import Pixels
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ConfigError

LISTED = 8
"""Names that a message lists."""


@dataclass(frozen=True)
class Matched:
    """A predictor whose first columns are the classes of a data set, in its order. The model's other classes follow: an
    image that is predicted as one of them is wrong. `order`: the model's column of each column here."""

    model: Predictor
    classes: tuple[str, ...]
    order: npt.NDArray[np.int64]

    @property
    def preprocessing(self) -> Preprocessing:
        return self.model.preprocessing

    @property
    def description(self) -> str:
        return self.model.description

    @property
    def method(self) -> str:
        return self.model.method

    @property
    def space(self) -> str:
        return self.model.space

    def predict(self, pixels: Pixels) -> Probabilities:
        """See `Predictor`."""
        return self.model.predict(pixels)[:, self.order]

    def attributions(self, pixels: Pixels, labels: Labels) -> Maps:
        """See `Predictor`."""
        return self.model.attributions(pixels, self.order[labels])

    def features(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """See `Predictor`."""
        return self.model.features(pixels)


def matched(model: Predictor, wanted: Sequence[str], class_map: Mapping[str, str]) -> Matched:
    """`model` with the classes `wanted` (of a data set) first. `class_map`: the model's name -> the data's name.
    ConfigError where a class of the data is none of the model's, or names stand twice."""
    if unknown := [name for name in class_map if name not in model.classes]:
        raise ConfigError(
            f"--class-map: the model has no class {unknown[0]!r}{_hint(unknown[0], model.classes)}. It has "
            f"{_listed(model.classes)}."
        )
    names = [class_map.get(name, name) for name in model.classes]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ConfigError(
            f"the model's classes do not match the data's: it has no class {_listed(missing)}{_hint(missing[0], names)}"
            f". The model has {_listed(names)}, the data {_listed(wanted)}. Name pairs with --class-map MODEL=DATA, or "
            "choose classes of the data with --set data.classes=[...]."
        )
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise ConfigError(f"two classes of the model are called {twice[0]!r}: map one of them to another name.")
    first = [names.index(name) for name in wanted]
    others = [column for column in range(len(names)) if column not in first]
    order = np.array([*first, *others], np.int64)
    return Matched(model, tuple(names[column] for column in order), order)


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more


def _hint(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
