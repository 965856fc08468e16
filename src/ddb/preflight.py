"""Faults, told before anything is computed. `ddb check` looks at settings, data, models and device; every run looks at
models and device (`check_models`), and at what of the settings does not fit its data (`check_fit`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from ddb.backends.checks import fetch_unpinned, model_faults
from ddb.backends.registry import tokens_identity
from ddb.backends.segmenters.given_masks import open_given_masks, survey, survey_lines
from ddb.config import DataConfig, GivenMasksConfig, RunConfig
from ddb.config.faults import faults_message, tree_faults
from ddb.config.load import read_tree
from ddb.data.sources.load import load_dataset
from ddb.data.summary import summary
from ddb.data.table import Dataset
from ddb.errors import ConfigError, DDBError
from ddb.learn.device import open_accelerator
from ddb.learn.selection import counts, loss_weights


def check(
    source: str, overrides: Sequence[str] = (), *, data: Path | None = None, device: str | None = None
) -> list[str]:
    """A few lines that describe a run that can start. Raises ConfigError with all faults where it cannot.

    The data is looked at even where other settings are wrong. Nothing is downloaded or drawn: hub names and the pocket
    world's images are not checked.
    """
    tree, faults, notes = read_tree(source, overrides, data=data, device=device)
    faults += tree_faults(tree)
    messages = [faults_message(source, faults)] if faults else []
    dataset: Dataset | None = None
    try:
        dataset = _load(DataConfig.model_validate(tree.get("data", {})))
    except ValidationError:
        dataset = None  # these faults are among the settings' faults
    except DDBError as error:
        messages.append(str(error))
    lines: list[str] = []
    if not faults:
        config = RunConfig.model_validate(tree)
        messages += _model_faults(config)
        if dataset is not None:
            mask_lines, mask_faults = _masks(config, dataset)
            messages += [*_conflicts(config, dataset), *mask_faults]
            lines = [*summary(dataset), *mask_lines]
    if messages:
        raise ConfigError("\n".join(messages))
    return [*notes, *lines, f"{source}: nothing stands in the way of this run"]


def check_models(config: RunConfig) -> None:
    """Raises ConfigError with every fault of the device and of the models that lie on this machine. Published weights
    whose commit is not known yet are downloaded, so that the run knows what they are."""
    if messages := _model_faults(config):
        raise ConfigError("\n".join(messages))
    fetch_unpinned(config)


def check_fit(config: RunConfig, dataset: Dataset) -> None:
    """Raises ConfigError with every setting that does not fit this data set."""
    if messages := _conflicts(config, dataset):
        raise ConfigError("\n".join(messages))


def _model_faults(config: RunConfig) -> list[str]:
    device = _fault_of(lambda: open_accelerator(config.device, config.precision))
    return [*([device] if device else []), *model_faults(config)]


def _load(config: DataConfig) -> Dataset | None:
    return None if config.source == "pocket" else load_dataset(config)


def _fault_of(one: Callable[[], object]) -> str | None:
    try:
        one()
    except DDBError as error:
        return str(error)
    return None


def _conflicts(config: RunConfig, dataset: Dataset) -> list[str]:
    """Settings that do not fit this data set."""
    faults = []
    if None in dataset.split("val")["attribute"].to_pylist():
        faults = [
            f'{section}.selection: "worst_group" needs the attribute of every validation image; use "worst_class"'
            for section in ("erm", "retrain")
            if getattr(config, section).selection == "worst_group"
        ]
    classes, asked = len(dataset.classes), config.inpaint.per_class
    if fault := _fault_of(lambda: loss_weights(config.retrain.gammas, classes)):
        faults.append(fault)
    if asked is not None and (fault := _fault_of(lambda: counts(asked, classes))):
        faults.append(fault)
    if fault := _fault_of(lambda: tokens_identity(config.invert, dataset.classes)):
        faults.append(fault)
    return faults


def _masks(config: RunConfig, dataset: Dataset) -> tuple[list[str], list[str]]:
    """What is said of given masks, and their faults: every one is opened, as a run does."""
    segment = config.segment
    if not isinstance(segment, GivenMasksConfig) or _fault_of(lambda: open_given_masks(segment.masks)):
        return [], []  # a folder that is none is among the faults of the models
    masks, images = open_given_masks(segment.masks), dataset.split("train")["image"].to_pylist()
    return survey_lines(survey(masks, dataset.root, images, dataset.phrase), masks)
