"""Rivals: other methods on the same data, backbone, budget and selection rule, all with one signature.

Each rival is a `Rival` in a file of this folder; `RIVALS[name]` imports that file on access. `fit_rival` passes it a
`Problem` without the labels and images that it does not declare in `uses`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.config import FitConfig
from ddb.errors import ConfigError
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.learn.training.fit import Figures, Images
from ddb.learn.validation import Held, validator

Groups = npt.NDArray[np.int64]
"""[N], label * number of attributes + attribute."""

USES = ("train_groups", "val_groups", "val_groups_train", "counterfactuals")
"""Values of `Rival.uses`: groups of the training images; groups of the validation images for selection; the same for
training; counterfactuals."""


@dataclass(frozen=True)
class Generated:
    """Counterfactuals: `images` with their labels; `from_labels` int64 [M]: class of the source of each (which its
    background comes from); `sources` int64 [M]: the source's row in the training images."""

    images: Images
    from_labels: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """The input of a rival. `erm()` and `start()` return a new copy at each call: the shared ERM model, and the
    pretrained backbone with a fresh last layer. `fit`: the shared budget; `selection`: the rule that chooses epochs
    and hyperparameters; `val_pairs`: held-out counterfactuals for the rule "counterfactual"; `folder`: for checkpoints
    and caches of this rival at this seed; `batch`: number of images in a batch of predictions."""

    train: Images
    val: Images
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    erm: Callable[[], LoadedClassifier]
    start: Callable[[], LoadedClassifier]
    fit: FitConfig
    selection: str
    runtime: Runtime
    seed: int
    folder: Path
    train_groups: Groups | None = None
    val_groups: Groups | None = None
    counterfactuals: Generated | None = None
    val_pairs: Held | None = None
    batch: int = 128

    def held(self) -> list[Held]:
        """The held-out images for selection, with the cells that its rule compares."""
        cells = self.val_groups if self.selection == "worst_group" else None
        parts = [Held(self.val.pixels, self.val.labels, self.val.labels if cells is None else cells)]
        if self.selection == "counterfactual" and self.val_pairs is not None:
            parts.append(self.val_pairs)
        return parts

    def validate(self) -> Callable[[Classifier], Figures] | None:
        """The function that `learn.training.fit` calls after each epoch; None for the rule "last"."""
        return validator(self.selection, self.held(), self.runtime, self.batch)


@dataclass(frozen=True)
class Fitted:
    """A rival's classifier, its figures on the held-out images (empty for the rule "last"), and facts for its
    record."""

    classifier: LoadedClassifier
    figures: Figures
    facts: Mapping[str, float | int | str] = field(default_factory=dict)


class Settings(BaseModel):
    """Hyperparameters of a rival. The description of each field gives its meaning and its source."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainingSettings(Settings):
    """Settings of a rival that trains the whole network: factors of the shared budget's lr and weight decay."""

    lr_scale: float = Field(1.0, gt=0, description="multiplies the shared learning rate; ours, for the search")
    weight_decay_scale: float = Field(1.0, ge=0, description="multiplies the shared weight decay; ours, for the search")

    def budget(self, shared: FitConfig) -> FitConfig:
        """The shared settings with lr and weight decay multiplied by these factors."""
        return shared.model_copy(
            update={
                "lr": shared.lr * self.lr_scale,
                "weight_decay": shared.weight_decay * self.weight_decay_scale,
            }
        )


GRID = 4
"""Number of settings that a search tries, the same for every rival."""


@dataclass(frozen=True)
class Rival:
    """A method. `name`: its key in `RIVALS`; `title`: its name in papers; `uses`: the values of `USES` that it
    declares; `grid`: the `GRID` settings that a search tries."""

    name: str
    title: str
    uses: frozenset[str]
    settings: type[Settings]
    grid: tuple[Mapping[str, Any], ...]
    fit: Callable[[Problem, Any], Fitted]


def fit_rival(rival: Rival, problem: Problem, values: Mapping[str, Any] | None = None) -> Fitted:
    """Fit a rival with `values` over its default settings. ConfigError for values that it does not accept, or where the
    problem lacks labels or images that it declares."""
    try:
        settings = rival.settings(**(values or {}))
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(
            f"{rival.title}: {key or 'settings'}: {fault['msg']}. It knows {', '.join(rival.settings.model_fields)}."
        ) from error
    return rival.fit(visible(problem, rival), settings)


def visible(problem: Problem, rival: Rival) -> Problem:
    """The problem with only the labels and images that the rival declares.

    Validation groups are kept where the rule is "worst_group" or the rival trains on them; a rival that does not
    declare them selects by worst class instead. Raises ConfigError where something declared is missing.
    """
    trains_on_val = "val_groups_train" in rival.uses
    sees_val = trains_on_val or ("val_groups" in rival.uses and problem.selection == "worst_group")
    wanted = {
        "train_groups": "train_groups" in rival.uses,
        "val_groups": sees_val,
        "counterfactuals": "counterfactuals" in rival.uses,
    }
    for name, needed in wanted.items():
        if needed and getattr(problem, name) is None:
            raise ConfigError(f"{rival.title}: {_MISSING[name]}")
    for name, split in (("train_groups", "training"), ("val_groups", "validation")):
        if wanted[name] and (name == "train_groups" or trains_on_val):
            _require_every_group(rival, problem, getattr(problem, name), split)
    selection = problem.selection
    if selection == "worst_group" and not sees_val:
        selection = "worst_class"
    hidden = {name: None for name, needed in wanted.items() if not needed}
    return replace(problem, selection=selection, **hidden)  # type: ignore[arg-type]


_MISSING = {
    "train_groups": "trains with the group of every training image, and this data set has none. JTT, AFR and ddb do "
    "without them.",
    "val_groups": "needs the group of every validation image, and this data set has none. For selection alone "
    '"worst_class" does without them; to train on them, nothing does: use AFR or ddb.',
    "counterfactuals": "learns from generated images; run the stages up to prune first, or leave this method out.",
}


def _require_every_group(rival: Rival, problem: Problem, groups: Groups, split: str) -> None:
    counts = np.bincount(groups, minlength=len(problem.classes) * len(problem.attributes))
    empty = [divmod(int(cell), len(problem.attributes)) for cell in np.flatnonzero(counts == 0)]
    if empty:
        named = ", ".join(f"{problem.classes[label]} / {problem.attributes[attribute]}" for label, attribute in empty)
        raise ConfigError(
            f"{rival.title}: no {split} image of the group {named}; it learns from every group. Use a method without "
            "training groups (JTT, AFR, ddb), or add images of that group."
        )


_HOMES = {
    "erm": "erm:RIVAL",
    "jtt": "jtt:RIVAL",
    "afr": "afr:RIVAL",
    "dfr_val": "dfr:VAL",
    "dfr_train": "dfr:TRAIN",
    "dpe": "dpe:VAL",
    "dpe_ddb": "dpe:DDB",
    "lisa": "lisa:RIVAL",
    "dac": "dac:RIVAL",
    "disc": "disc:RIVAL",
    "ffr": "ffr:RIVAL",
    "group_dro": "group_dro:RIVAL",
    "reweight": "reweight:RIVAL",
    "resample": "resample:RIVAL",
    "mixup": "mixup:RIVAL",
    "cvar_dro": "cvar_dro:RIVAL",
    "lff": "lff:RIVAL",
}


class _Rivals(Mapping[str, Rival]):
    """name -> Rival; its file is imported on access."""

    def __getitem__(self, name: str) -> Rival:
        if name not in _HOMES:
            raise KeyError(name)
        module, _, attribute = _HOMES[name].partition(":")
        rival: Rival = getattr(import_module(f"ddb.rivals.{module}"), attribute)
        return rival

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


RIVALS: Mapping[str, Rival] = _Rivals()
