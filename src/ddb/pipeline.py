"""READ FIRST. `run` takes a configuration through the stages of the method (`ddb.method`).

    erm -> invert -> segment -> inpaint -> score -> prune -> retrain -> evaluate -> balanced/, metrics.json, report.html

A stage turns tables into a table (`ddb.stage`); the engine runs stages over a run folder and resumes them
(`ddb.engine`); this is where they meet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddb.config import RunConfig
from ddb.config.section import StageName
from ddb.context import Models
from ddb.engine import forecast, journal, local
from ddb.engine.cluster.connection import check_engine
from ddb.engine.interrupt import guarded
from ddb.engine.local import Engine
from ddb.engine.progress import Messages, Progress, heard_by, open_progress
from ddb.engine.runner import Policy, Setup, as_set, is_finished, run_stage, skip
from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError, DDBError
from ddb.method import build_stages as build_stages
from ddb.stage import Fixed, Stage, Worker

if TYPE_CHECKING:
    import pyarrow as pa

    from ddb.data.table import Dataset

STAGES: tuple[StageName, ...] = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")
TRAINING = ("erm", "retrain")
"""Stages that train while they open: the processes of a launch open them together."""
ROWS = ("invert", "segment", "inpaint", "score", "evaluate")
"""Stages with batches that are worth sending to other processes."""


def run(
    config: RunConfig,
    out: Path | None = None,
    *,
    until: str | None = None,
    only: str | None = None,
    progress: Progress | None = None,
    engine: str = "local",
) -> Path:
    """Run the method into the folder `out` (default: `ddb.run_folder.default_folder`) and return it; a folder that
    exists is resumed.

    `until`: stop after this stage. `only`: run this stage alone; the stages before it must be finished. `engine`:
    "local", or "ray": the batches of `ROWS` are computed by workers of a Ray cluster (settings `ray`). In several
    processes (accelerate launch, torchrun) all call this alike: they train together, and the first one does all else.
    Raises DDBError (see `ddb.errors`); whatever was computed before stays in the folder."""
    from ddb import crew
    from ddb.run_folder import default_folder, hand_over, open_run

    out = Path(out) if out is not None else default_folder(config)
    wanted = _wanted(until, only)
    check_engine(engine)
    progress = progress or open_progress(sys.stderr)
    if not crew.join(config.device):
        with guarded():
            crew.follow(lambda: _helping(out, config))
        return out
    with guarded(), journal.locked(out), heard_by(Messages(progress)), crew.led():
        workspace = Workspace(out, STAGES)
        if _finished(workspace, config, wanted, progress):
            return out
        dataset = open_run(workspace, config, progress)
        setup = set_up(config, dataset, workspace, progress)
        workspace.settle(setup.stages)
        outlooks = forecast.forecast(workspace, setup.stages)
        for line in forecast.in_words(outlooks):
            progress.say(line)
        todo = {one.stage for one in outlooks if not one.kept}
        with ExitStack() as stack:
            if engine == "ray" and todo.intersection(ROWS, wanted):
                from ddb.cluster import shared_rows

                helping = partial(_helping, out, config, dataset)
                setup = stack.enter_context(shared_rows(setup, config, ROWS, helping))
            run_stages(workspace, wanted, setup, config.prune.max_rounds)
        if wanted[-1] == STAGES[-1]:
            hand_over(workspace, dataset.without_attributes(), progress)
    return out


def dry_run(config: RunConfig, out: Path | None = None) -> list[str]:
    """What `run` would compute, and why, in words: a line for each stage. The run folder is not changed but for its
    caches; nothing is computed. Raises DDBError as `run` does."""
    from ddb.run_folder import default_folder

    out = Path(out) if out is not None else default_folder(config)
    if not out.exists():
        return [f"{out}: a new run; all stages are to be computed"]
    workspace = Workspace(out, STAGES)
    _, stages = _looked_at(workspace, config)
    return [str(out), *forecast.in_words(forecast.forecast(workspace, stages))]


def _looked_at(workspace: Workspace, config: RunConfig) -> tuple[Dataset, list[Stage]]:
    """The data and the stages of a run folder under these settings, settled. No model library is imported, and nothing
    is written but caches. Raises DDBError."""
    from ddb.data.sources.load import load_dataset
    from ddb.run_folder import check_owner

    dataset = load_dataset(config.data, workspace.root / "cache")
    check_owner(workspace, config, dataset)
    stages = build_stages(config, dataset, workspace)
    workspace.settle(stages, write=False)
    return dataset, stages


def _finished(workspace: Workspace, config: RunConfig, wanted: Sequence[str], progress: Progress) -> bool:
    """Where all wanted stages are finished under these settings, say so, hand over the results, and return True. No
    model is opened or checked. False where something is to be computed or wrong: `open_run` tells what."""
    from ddb.data.inspection.summary import summary
    from ddb.run_folder import hand_over, write_facts

    if not workspace.is_begun:
        return False
    try:
        dataset, stages = _looked_at(workspace, config)
        own = [stage for stage in stages if stage.name in wanted]
        if not all(is_finished(workspace, stage) for stage in own):
            return False
    except DDBError:  # `open_run` meets it again, and tells all other faults with it
        return False
    progress.say(f"{config.name}: reading the data")
    for line in summary(dataset):
        progress.say(line)
    write_facts(workspace, config, dataset)
    workspace.settle(stages)
    for line in forecast.in_words(forecast.forecast(workspace, stages)):
        progress.say(line)
    for stage in own:
        skip(workspace, stage.name, len(stage.plan(workspace)), progress)
    if wanted[-1] == STAGES[-1]:
        hand_over(workspace, dataset.without_attributes(), progress)
    return True


def status(out: Path) -> dict[str, Any]:
    """What is done in a run folder and what is left: see `ddb.engine.state.describe`; and "addresses": name -> whether
    what lies there (balanced, classifier, metrics.json) was made from the present results."""
    from ddb.run_folder import MADE_FROM, is_up_to_date

    workspace = Workspace.at(Path(out)).as_now()
    there = [name for name in MADE_FROM if (workspace.root / name).exists()]
    return {**describe(workspace), "addresses": {name: is_up_to_date(workspace, name) for name in there}}


def table(out: Path, stage: str) -> pa.Table:
    """The rows of a finished stage under the present settings of a run folder, without pixels. Raises DDBError where it
    is not finished."""
    workspace = Workspace.at(Path(out))
    if stage not in workspace.stages:
        raise ConfigError(f"{out}: there is no stage {stage!r}; the stages are {', '.join(workspace.stages)}.")
    return workspace.table(stage)


Change = Callable[[list[Stage]], list[Stage]]
"""Other stages in place of the configuration's own; for studies."""


def unchanged(stages: list[Stage]) -> list[Stage]:
    """The configuration's own stages."""
    return stages


def set_up(
    config: RunConfig, dataset: Dataset, workspace: Workspace, progress: Progress, change: Change = unchanged
) -> Setup:
    """How the stages of this configuration are run by this process."""
    import torch

    from ddb import __version__
    from ddb.learn.device import open_accelerator

    runtime = open_accelerator(config.device, config.precision)
    dtype = str(runtime.dtype).removeprefix("torch.")
    stages, models = change(build_stages(config, dataset, workspace)), Models()

    def choose(stage: Stage, planned: int, fixed: Fixed) -> Fixed:
        return as_set(stage, planned, fixed) if stage.choose is None else stage.choose(models, planned, fixed)

    return Setup(
        stages=stages,
        open_worker=opener(stages, models),
        fixed=Fixed(0, runtime.device.type, dtype, torch.get_num_threads(), __version__),
        progress=progress,
        policy=Policy(config.max_error_rate, config.resume_elsewhere),
        engine=_engine,
        choose=choose,
    )


def _engine(stage: str) -> Engine:
    from ddb import crew

    return crew.engine(stage) if stage in TRAINING else local.execute


def opener(stages: list[Stage], models: Models) -> Callable[[Stage, Workspace, Fixed], Worker]:
    """What opens a stage's worker: as many threads as when the stage began, and no model in memory that neither it nor
    a later stage opens."""

    def open_worker(stage: Stage, workspace: Workspace, fixed: Fixed) -> Worker:
        import torch

        names = [one.name for one in stages]
        later = stages[names.index(stage.name) :]
        models.keep({name for one in later for name in one.models})
        torch.set_num_threads(fixed.threads)
        return stage.open(models, workspace, workspace.folder(stage.name), fixed)

    return open_worker


def run_stages(workspace: Workspace, names: Sequence[str], setup: Setup, rounds: int) -> None:
    """Bring these stages to their end. Where inpaint and score are among them, both are repeated up to `rounds` times:
    while scores leave a direction short of kept images, its rejected sources are planned again with a new variant
    (method section 6). Which ones follows from the scores alone, so a resumed run asks for the same."""
    for name in names:
        if name == "score" and "inpaint" in names:
            for _ in range(rounds):
                painted, scored = run_stage(workspace, "inpaint", setup), run_stage(workspace, "score", setup)
                if not (painted or scored):
                    break
        elif name != "inpaint" or "score" not in names:
            run_stage(workspace, name, setup)


def _helping(out: Path, config: RunConfig, dataset: Dataset | None = None) -> tuple[Workspace, Setup]:
    """The run as a process sees it that only helps: it is given the data, or finds what the leader has prepared."""
    from ddb.data.sources.load import load_dataset

    workspace = Workspace(out, STAGES)
    dataset = dataset or load_dataset(config.data, out / "cache")
    return workspace, set_up(config, dataset, workspace, open_progress(sys.stderr))


def _wanted(until: str | None, only: str | None) -> tuple[str, ...]:
    for name in (until, only):
        if name is not None and name not in STAGES:
            raise ConfigError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}.")
    if only is not None:
        return (only,)
    return STAGES[: STAGES.index(until) + 1] if until is not None else STAGES
