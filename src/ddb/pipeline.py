"""READ FIRST. The method as an ordered list of stages, and `run`, which takes a configuration through it.

    erm -> invert -> segment -> inpaint -> score -> prune -> retrain -> evaluate -> balanced/, metrics.json, report.html

A stage turns tables into a table (`ddb.stage`); the engine runs stages over a run folder and resumes them
(`ddb.engine`); this is the only file that imports both stages and engine.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddb.config import FitConfig, RunConfig
from ddb.config.marks import content_of, references_of
from ddb.config.section import StageName
from ddb.context import Context, Models
from ddb.engine import forecast, journal, local
from ddb.engine.cluster.connection import check_engine
from ddb.engine.interrupt import guarded
from ddb.engine.local import Engine
from ddb.engine.progress import Messages, Progress, open_progress
from ddb.engine.runner import Policy, Setup, run_stage
from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError
from ddb.stage import Fixed, Stage, Tables, Worker

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
    with guarded(), journal.locked(out), _messages(progress), crew.led():
        workspace = Workspace(out, STAGES)
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
    from ddb.data.sources.load import load_dataset
    from ddb.run_folder import check_owner, default_folder

    out = Path(out) if out is not None else default_folder(config)
    if not out.exists():
        return [f"{out}: a new run; all stages are to be computed"]
    workspace = Workspace(out, STAGES)
    dataset = load_dataset(config.data, out / "cache")
    check_owner(workspace, config, dataset)
    stages = build_stages(config, dataset, workspace)
    workspace.settle(stages, write=False)
    return [str(out), *forecast.in_words(forecast.forecast(workspace, stages))]


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
    stages = change(build_stages(config, dataset, workspace))
    return Setup(
        stages=stages,
        open_worker=opener(stages, Models()),
        fixed=Fixed(0, runtime.device.type, dtype, torch.get_num_threads(), __version__),
        progress=progress,
        policy=Policy(config.max_error_rate, config.resume_elsewhere),
        engine=_engine,
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


def build_stages(config: RunConfig, dataset: Dataset, workspace: Workspace) -> list[Stage]:
    """All stages, in order. None but the evaluation is given attributes; a fit whose epoch is chosen by worst-group
    accuracy gets those of the validation images."""
    from ddb.stages import erm, evaluate, inpaint, invert, prune, retrain, score, segment

    context = context_of(config, dataset, workspace.root / "cache")
    blind, groups, per_class = context.dataset, _validation_groups(dataset), config.inpaint.per_class
    content = _content(config, dataset)
    extent = {"per_class": per_class, "max_rounds": config.prune.max_rounds}

    def labels_for(fit: FitConfig) -> pa.Table | None:
        return groups if fit.selection == "worst_group" else None

    def retry(tables: Tables) -> list[tuple[str, int]]:
        from ddb.refill import retries

        return retries(workspace, blind, config)

    return [
        erm.stage(context, config.erm, content["erm"], labels_for(config.erm)),
        invert.stage(context, invert.Learning(config.invert, config.segment, config.inpaint), content["invert"]),
        segment.stage(context, config.segment, config.inpaint, content["segment"]),
        inpaint.stage(context, config.inpaint, config.segment, content["inpaint"], extent, retry),
        score.stage(context, config.score, content["score"]),
        prune.stage(config.prune, len(blind.classes), per_class, content["prune"]),
        retrain.stage(context, config.retrain, config.erm, content["retrain"], labels_for(config.retrain)),
        evaluate.stage(context, dataset, config.evaluate, config.data, content["evaluate"]),
    ]


def context_of(config: RunConfig, dataset: Dataset, cache: Path) -> Context:
    """What every stage reads besides its settings."""
    return Context(dataset.without_attributes(), config.seed, config.device, config.precision, cache)


def _content(config: RunConfig, dataset: Dataset) -> dict[str, dict[str, object]]:
    """What decides the rows of each stage by the settings: values marked content, and the identities of the files and
    weights that settings name."""
    from ddb.backends.registry import reference_identities

    found: dict[str, dict[str, object]] = {}
    for name in STAGES:
        identities: Mapping[str, str] = reference_identities(config, references_of(config, name), dataset)
        found[name] = {**content_of(config, name), **identities}
    return found


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


def _validation_groups(dataset: Dataset) -> pa.Table:
    return dataset.split("val").select(["id", "attribute"])


@contextmanager
def _messages(progress: Progress) -> Iterator[None]:
    """Show what the stages log."""
    log, handler = logging.getLogger("ddb"), Messages(progress)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
