"""The verbs of the stages, one each, and what runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddb.cli.options import Data, Device, Engine, Out, Seed, Set, Source, Workers, config_of, with_workers
from ddb.cli.outcome import faults_logged

if TYPE_CHECKING:
    from ddb.config import RunConfig

STAGE_HELP = {
    "erm": "Train or adopt the plain classifier; rank images by loss.",
    "invert": "Learn a token for each class from its hardest images.",
    "segment": "Find the part of each image that makes its class.",
    "inpaint": "Repaint that part as another class: the counterfactuals.",
    "score": "Score each counterfactual with the plain classifier.",
    "prune": "Decide which counterfactuals are kept.",
    "retrain": "Retrain the classifier with the kept ones as well.",
    "evaluate": "Measure both classifiers on the test images, per group.",
}


def run_into(config: RunConfig, out: Path | None, only: str | None = None, engine: str = "local") -> None:
    """Run the method into a folder, the run's own by default. `only`: this stage alone."""
    from ddb import pipeline
    from ddb.run_folder import default_folder

    folder = out or default_folder(config)
    with faults_logged(folder):
        pipeline.run(config, folder, only=only, engine=engine)


def _alone(name: str) -> Callable[..., None]:
    """The verb of a stage that this process computes."""

    def verb(
        source: Source,
        data: Data = None,
        overrides: Set = None,
        out: Out = None,
        device: Device = None,
        seed: Seed = None,
    ) -> None:
        run_into(config_of(source, overrides, data, seed, device), out, only=name)

    return verb


def _by_rows(name: str) -> Callable[..., None]:
    """The verb of a stage whose rows workers can compute."""

    def verb(
        source: Source,
        data: Data = None,
        overrides: Set = None,
        out: Out = None,
        device: Device = None,
        seed: Seed = None,
        engine: Engine = "local",
        workers: Workers = None,
    ) -> None:
        config = config_of(source, with_workers(overrides, workers), data, seed, device)
        run_into(config, out, name, engine)

    return verb


def _segment(
    source: Source,
    data: Data = None,
    overrides: Set = None,
    out: Out = None,
    device: Device = None,
    seed: Seed = None,
    preview: Annotated[
        int | None,
        typer.Option(
            "--preview", metavar="N", min=1, max=400, help="Only show N images with boxes, masks, regions on one sheet."
        ),
    ] = None,
    engine: Engine = "local",
    workers: Workers = None,
) -> None:
    config = config_of(source, with_workers(overrides, workers), data, seed, device)
    if preview is None:
        run_into(config, out, "segment", engine)
        return
    from ddb.run_folder import default_folder
    from ddb.segment_preview import preview as show

    for line in show(config, out or default_folder(config), preview):
        print(line)


_VERBS = {
    **{name: _alone(name) for name in ("erm", "prune", "retrain")},
    **{name: _by_rows(name) for name in ("invert", "inpaint", "score", "evaluate")},
    "segment": _segment,
}


def add_stage_verbs(app: typer.Typer) -> None:
    """Add the verb of each stage."""
    for name, text in STAGE_HELP.items():
        app.command(name, help=f"{text} This stage alone; needs the stages before it.")(_VERBS[name])
