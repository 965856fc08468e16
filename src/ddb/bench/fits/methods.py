"""ddb and its rivals as `Method`: title, the labels that each uses, and the settings that a search tries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ddb.bench.fits.trial import Trial
from ddb.bench.options import DDB, Options
from ddb.config import RunConfig
from ddb.errors import ConfigError
from ddb.learn.training.fit import Images
from ddb.rivals import RIVALS, Generated, Settings, visible


class DdbSettings(Settings):
    """Settings of ddb that a search varies: of the stages after inpaint alone, so that no image is painted again."""

    gamma_scale: float = Field(1.0, gt=0, description="multiplies retrain.gammas, the weights of counterfactuals")
    psi: Literal["preset", "literal", "relative", "off"] = Field(
        "preset", description="rule of the psi head (prune.psi)"
    )

    def applied(self, config: RunConfig) -> RunConfig:
        tree = config.model_dump()
        tree["retrain"]["gammas"] = tuple(gamma * self.gamma_scale for gamma in config.retrain.gammas)
        if self.psi != "preset":
            tree["prune"]["psi"] = self.psi
        return RunConfig.model_validate(tree)


def ddb_grid(config: RunConfig) -> tuple[Mapping[str, Any], ...]:
    """The preset's own settings, half and twice its weights of counterfactuals, and the other rule of the psi head."""
    other = "literal" if config.prune.psi == "relative" else "relative"
    return {}, {"gamma_scale": 0.5}, {"gamma_scale": 2.0}, {"psi": other}


@dataclass(frozen=True)
class Method:
    """`uses`: values of `ddb.rivals.USES`; `grid`: the settings that a search tries; `given`: fixed settings."""

    name: str
    title: str
    uses: frozenset[str]
    settings: type[Settings]
    grid: tuple[Mapping[str, Any], ...]
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_images(self) -> bool:
        """Whether it learns from generated images."""
        return "counterfactuals" in self.uses


def method(name: str, config: RunConfig, concepts: str = "") -> Method:
    """By name; `config`: the preset of the bench; `concepts`: DISC's folder of concept images."""
    if name == DDB:
        return Method(DDB, "ddb", frozenset({"val_groups", "counterfactuals"}), DdbSettings, ddb_grid(config))
    rival = RIVALS[name]
    given = {"concepts": concepts} if name == "disc" else {}
    return Method(name, rival.title, rival.uses, rival.settings, rival.grid, given)


def usable(trial: Trial, options: Options, concepts: str) -> tuple[list[Method], dict[str, str]]:
    """The methods that this data set allows, and the reason for each that it does not.

    Raises ConfigError with that reason for a method that was asked for by name."""
    chosen, left_out = [], {}
    for name in options.methods:
        found = method(name, trial.config, concepts)
        try:
            _check(found, trial)
            chosen.append(found)
        except ConfigError as error:
            if options.named:
                raise
            left_out[name] = str(error)
    return chosen, left_out


def _check(found: Method, trial: Trial) -> None:
    if found.name == "disc" and not found.given["concepts"]:
        raise ConfigError("DISC: needs a folder of concept images, one sub-folder each: give it with --concepts DIR.")
    if found.name != DDB:
        visible(replace(trial.problem, counterfactuals=_TO_COME), RIVALS[found.name])


_TO_COME = Generated(Images(np.empty((0, 1, 1, 3), np.uint8), np.empty(0, np.int64)), *np.empty((2, 0), np.int64))
"""Placeholder of the counterfactuals that will be painted for methods that train on them."""
