"""What MODEL, --run and --out mean for `ddb audit` and `ddb explain`.

A run folder as MODEL stands for its retrained classifier, its counterfactuals and its settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb.auditing.predictors.opening import Model
from ddb.backends.classifiers.loaded import LoadedClassifier
from ddb.config import RunConfig
from ddb.config.load import load_config
from ddb.engine.layout import CURRENT
from ddb.errors import ConfigError
from ddb.run_folder import default_folder

PRESET = "photos"
"""Settings where neither a preset nor a run is named."""


@dataclass(frozen=True)
class Subject:
    """`model` as it is opened, `name` for people; `run` with counterfactuals, if any; `out`: folder of the results;
    `cache`: folder of drawn images and results of file checks."""

    model: Model
    name: str
    run: Path | None
    out: Path
    cache: Path


def subject(model: Model, run: Path | None, out: Path) -> Subject:
    """ConfigError where `run` is no run folder."""
    own = run_of(model)
    run = require_run(run or own)
    name = str(model) if isinstance(model, str | os.PathLike) else _name_of(model)
    return Subject(own / "classifier" if own is not None else model, name, run, out, (run or out) / "cache")


def run_of(model: Model) -> Path | None:
    """The run folder that a model is named by; None where it is named otherwise."""
    if not isinstance(model, str | os.PathLike):
        return None
    path = Path(model).expanduser()
    return path if _is_run(path) else None


def default_out(verb: str, config: RunConfig) -> Path:
    """runs/VERB-NAME or runs/VERB-NAME-DATA, as `ddb run` names its folder."""
    folder = default_folder(config)
    return folder.with_name(f"{verb}-{folder.name}")


def settings_of(
    source: str | None, run: Path | None, overrides: Sequence[str], data: Path | None, say: Callable[[str], None]
) -> RunConfig:
    """The settings `source` (a preset or file); where it is None those of the run, else of the preset `photos`.
    ConfigError lists every fault, or says that `run` is no run folder."""
    require_run(run)
    own = None if run is None else run / "config.yaml"
    chosen = source or (str(own) if own is not None and own.is_file() else PRESET)
    return load_config(chosen, overrides, data=data, say=say)


def settings_from(data: RunConfig | Path | str) -> RunConfig:
    """Settings as they are; of a folder or table, those of the preset `photos` with it. ConfigError where nothing names
    the data."""
    config = data if isinstance(data, RunConfig) else load_config(PRESET, data=data)
    if config.data.source != "pocket" and not config.data.root:
        raise ConfigError("no data: give your images with --data FOLDER, or a preset that has data with --preset.")
    return config


def require_run(run: Path | None) -> Path | None:
    """`run` itself. ConfigError where it is named and no run folder."""
    if run is not None and not _is_run(run):
        raise ConfigError(f"--run {run}: no run folder; it has no {CURRENT}.")
    return run


def _is_run(path: Path) -> bool:
    return (path / CURRENT).is_file()


def _name_of(model: Model) -> str:
    return model.card.architecture if isinstance(model, LoadedClassifier) else getattr(model, "__name__", "function")
