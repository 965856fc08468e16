"""Faults, told before anything is computed: one list of checks for `ddb check` and for every run.

machine_faults   device, launch, models on this machine and what of the settings depends on them
load_dataset     the data: every image opened, classes with too few of them
data_faults      settings that do not fit the data, given masks
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from ddb.backends.checks import fetch_unpinned, mask_survey, model_faults, notes_on_published
from ddb.backends.classifiers.named_weights import adopts_weights
from ddb.backends.passed import Passed
from ddb.backends.registry import tokens_identity
from ddb.backends.weights import parse_weights
from ddb.config import DataConfig, PocketConfig, RunConfig
from ddb.config.faults import faults_message, tree_faults
from ddb.config.load import read_tree
from ddb.data.inspection.summary import summary
from ddb.data.reading.cache_folder import user_cache
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.errors import ConfigError, DDBError
from ddb.learn.device import open_accelerator
from ddb.learn.processes import started_with_others
from ddb.learn.selection import counts, loss_weights

GROUP_RULES = (
    ("attribute", "worst_group", 'the attribute of every validation image; use "worst_class"'),
    (
        "discovered",
        "discovered",
        "a discovered group of every validation image: run `ddb discover`, set data.groups",
    ),
)
"""Column of the samples that an epoch selection needs, its name, and what to do where values are missing."""
STAND_IN = {"train": 100, "val": 40, "test": 40}
"""Images of a built-in world that `check` draws: enough to know its classes and attributes, in about half a second."""


def check(
    source: str,
    overrides: Sequence[str] = (),
    *,
    data: Path | None = None,
    device: str | None = None,
    say: Callable[[str], object] | None = None,
) -> list[str]:
    """A few lines that describe a run that can start. Raises DDBError with all faults, a line each, where it cannot.

    The data is looked at even where other settings are wrong. Nothing is downloaded, and of a built-in world only a few
    images are drawn. `say` gets a line for what of a preset was left out, as in `load_config`.
    """
    tree, faults, notes = read_tree(source, overrides, data=data, device=device)
    if say is not None:
        for note in notes:
            say(note)
    faults += tree_faults(tree)
    if faults:
        _refuse([ConfigError(faults_message(source, faults)), *_data_errors(tree.get("data", {}))])
    config = RunConfig.model_validate(tree)
    drawn = config.data.source == "pocket"
    dataset, lines = _check_drawn(config) if drawn else prepare(config)
    return [
        *lines,
        *_lost_head(config, dataset),
        *notes_on_published(config),
        f"{source}: nothing stands in the way of this run",
    ]


def prepare(config: RunConfig, cache: Path | None = None, passed: Passed | None = None) -> tuple[Dataset, list[str]]:
    """The data of a run that can start, and lines that describe it. `cache`: as in `load_dataset`; `passed`: as in
    `model_faults`.

    Raises DDBError with all faults, a line each; those of machine and models before a built-in world is drawn."""
    errors = [ConfigError(fault) for fault in machine_faults(config, passed)]
    if errors and config.data.source == "pocket":
        _refuse(errors)
    try:
        dataset = load_dataset(config.data, cache)
    except DDBError as error:
        raise _one([*errors, error]) from error
    lines, faults = data_faults(config, dataset)
    _refuse([*errors, *map(ConfigError, faults)])
    return dataset, [*summary(dataset), *lines]


def prepare_run(config: RunConfig, cache: Path) -> tuple[Dataset, list[str]]:
    """As `prepare`; then published weights whose commit is not known yet are downloaded, so that the run knows what
    they are. Checks of models that passed before, in any run, are not repeated."""
    prepared = prepare(config, cache, Passed(user_cache() / "checked"))
    fetch_unpinned(config)
    return prepared


def machine_faults(config: RunConfig, passed: Passed | None = None) -> list[str]:
    """What is wrong with the launch, the device and the models that lie on this machine. `passed`: as in
    `model_faults`."""
    found = [_fault_of(started_with_others), _fault_of(lambda: open_accelerator(config.device, config.precision))]
    return [*dict.fromkeys(fault for fault in found if fault), *model_faults(config, passed)]


def data_faults(config: RunConfig, dataset: Dataset) -> tuple[list[str], list[str]]:
    """Lines about the given masks of this data set, and the faults of masks and settings that do not fit it."""
    lines, faults = mask_survey(config.segment, dataset)
    return lines, [*_conflicts(config, dataset), *faults]


def _check_drawn(config: RunConfig) -> tuple[Dataset, list[str]]:
    """As `prepare`, for a built-in world, of which a small one stands in."""
    errors = [ConfigError(fault) for fault in machine_faults(config)]
    world = config.data.pocket.world
    small = config.data.model_copy(update={"pocket": PocketConfig.model_validate({"world": world, **STAND_IN})})
    with tempfile.TemporaryDirectory() as folder:
        try:
            dataset = load_dataset(small, Path(folder))
        except DDBError as error:
            raise _one([*errors, error]) from error
    _refuse([*errors, *map(ConfigError, _conflicts(config, dataset))])
    sizes = ", ".join(f"{split} {getattr(config.data.pocket, split)}" for split in STAND_IN)
    line = f"data: the built-in world {world} ({', '.join(dataset.classes)}), drawn when the run starts: {sizes}"
    return dataset, [line]


def _data_errors(settings: object) -> list[DDBError]:
    """What is wrong with the data, where its own settings are valid: their faults are among the settings' faults."""
    try:
        config = DataConfig.model_validate(settings)
        if config.source != "pocket":
            load_dataset(config)
    except ValidationError:
        return []
    except DDBError as error:
        return [error]
    return []


def _refuse(errors: Sequence[DDBError]) -> None:
    """Raise these errors as one; do nothing where there is none."""
    if errors:
        raise _one(errors)


def _one(errors: Sequence[DDBError]) -> DDBError:
    """The error, or one with the messages of all."""
    return errors[0] if len(errors) == 1 else ConfigError("\n".join(map(str, errors)))


def _fault_of(one: Callable[[], object]) -> str | None:
    try:
        one()
    except DDBError as error:
        return str(error)
    return None


def _conflicts(config: RunConfig, dataset: Dataset) -> list[str]:
    """Settings that do not fit this data set."""
    val, faults = dataset.split("val"), []
    for column, rule, remedy in GROUP_RULES:
        if val[column].null_count:
            faults += [
                f'{section}.selection: "{rule}" needs {remedy}'
                for section in ("erm", "retrain")
                if getattr(config, section).selection == rule
            ]
    classes, asked = len(dataset.classes), config.inpaint.per_class
    found = [
        _fault_of(lambda: loss_weights(config.retrain.gammas, classes)),
        None if asked is None else _fault_of(lambda: counts(asked, classes)),
        _fault_of(lambda: tokens_identity(config.invert, dataset.classes)),
        _fault_of(lambda: _require_outputs(config, dataset)),
    ]
    return [*faults, *(fault for fault in found if fault)]


def _lost_head(config: RunConfig, dataset: Dataset) -> list[str]:
    """A note where the weights that training starts from carry a last layer that fits the data."""
    if config.erm.weights in ("hub", "none", "pocket") or not parse_weights(config.erm.weights).is_local:
        return []
    from ddb.backends.classifiers.adopted import dropped_head

    note = dropped_head(config.erm, dataset.classes)
    return [f"note: {note}"] if note else []


def _require_outputs(config: RunConfig, dataset: Dataset) -> None:
    """ModelError where a trained classifier is adopted that lacks an output for a class of the data."""
    if config.erm.classifier is not None or adopts_weights(config.erm):
        from ddb.backends.classifiers.adopted import require_outputs

        require_outputs(config.erm, dataset.classes)
