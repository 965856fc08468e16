"""READ FIRST. The method as an ordered list of stages, and `run`, which takes a configuration through it.

    erm -> invert -> segment -> inpaint -> score -> prune -> retrain -> evaluate -> balanced/, metrics.json, report.html

A stage turns tables into a table (`ddb.stage`); the engine runs stages over a run folder and resumes them
(`ddb.engine`); this is the only place where stages and engine meet.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddb.config import FitConfig, RunConfig
from ddb.config.load import config_text
from ddb.engine import files
from ddb.engine.interrupt import guarded, shielded
from ddb.engine.progress import Messages, Progress, open_progress
from ddb.engine.runner import Policy, run_stage
from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError
from ddb.stage import Stage, Tables

if TYPE_CHECKING:
    import pyarrow as pa

    from ddb.data.table import Dataset

STAGES = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")
PRODUCT = "product.json"
"""What `balanced/` was made from; written after it, so that a run that is repeated does not copy it again."""


def run(
    config: RunConfig,
    out: Path | None = None,
    *,
    until: str | None = None,
    only: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Run the method into the folder `out` (default: runs/NAME) and return it; a folder that exists is resumed.

    `until`: stop after this stage. `only`: run this stage alone; the stages before it must be finished. In several
    processes (accelerate launch, torchrun) all call this alike: the first one writes, the others help it. Raises
    DDBError (see `ddb.errors`); whatever was computed before stays in the folder."""
    from ddb import crew

    out = Path(out) if out is not None else Path("runs") / config.name
    workspace = Workspace(out, STAGES)
    progress = progress or open_progress(sys.stderr)
    wanted = _wanted(until, only)
    if not crew.join(config.device):
        with guarded():
            crew.follow(lambda: _helping(workspace, config))
        return out
    with guarded(), workspace.locked(), _messages(progress), crew.led():
        dataset = _open_run(workspace, config, progress)
        stages = build_stages(config, dataset, workspace)
        policy = Policy(config.max_error_rate, config.replace_stale)

        def carry_out(name: str) -> bool:
            return run_stage(workspace, stages[name], progress, policy, crew.engine(name))

        for name in wanted:
            if name == "score" and "inpaint" in wanted:
                _fill_up(carry_out, config.prune.max_rounds)
            elif name != "inpaint" or "score" not in wanted:
                carry_out(name)
        if wanted[-1] == STAGES[-1]:
            _hand_over(workspace, dataset.without_attributes(), progress)
    return out


def status(out: Path) -> dict[str, Any]:
    """What is done in a run folder and what is left: see `ddb.engine.state.describe`."""
    return describe(Workspace.at(Path(out)))


def build_stages(config: RunConfig, dataset: Dataset, workspace: Workspace) -> dict[str, Stage]:
    """All stages by name, in order. None but the evaluation is given attributes; a fit whose epoch is chosen by
    worst-group accuracy gets those of the validation images."""
    from ddb.stages import erm, evaluate, inpaint, invert, prune, retrain, score, segment

    blind, groups, seed = dataset.without_attributes(), _validation_groups(dataset), config.seed
    place = config.device, config.precision
    scores = score.stage(blind, config.score, config.erm, *place)

    def labels_for(fit: FitConfig) -> pa.Table | None:
        return groups if fit.selection == "worst_group" else None

    def retry(tables: Tables) -> list[tuple[str, int]]:
        from ddb.refill import retries

        return retries(workspace, blind, config) if workspace.is_current(scores) else []

    stages = [
        erm.stage(blind, config.erm, seed, *place, group_labels=labels_for(config.erm)),
        invert.stage(blind, config.invert, config.segment, config.inpaint, seed, *place),
        segment.stage(blind, config.segment, config.inpaint, *place),
        inpaint.stage(blind, config.inpaint, config.segment, seed, *place, retry=retry),
        scores,
        prune.stage(config.prune, len(dataset.classes), config.inpaint.per_class),
        retrain.stage(blind, config.retrain, config.erm, seed, *place, group_labels=labels_for(config.retrain)),
        evaluate.stage(dataset, config.evaluate, config.data, config.erm, *place),
    ]
    return {stage.name: stage for stage in stages}


def _helping(workspace: Workspace, config: RunConfig) -> tuple[Workspace, dict[str, Stage]]:
    """The stages as a process sees them that only helps: it finds the data that the leader has prepared."""
    from ddb.data.sources.load import load_dataset

    return workspace, build_stages(config, load_dataset(config.data, workspace.root / "cache"), workspace)


def _wanted(until: str | None, only: str | None) -> tuple[str, ...]:
    for name in (until, only):
        if name is not None and name not in STAGES:
            raise ConfigError(f"there is no stage {name!r}; the stages are {', '.join(STAGES)}.")
    if only is not None:
        return (only,)
    return STAGES[: STAGES.index(until) + 1] if until is not None else STAGES


def _fill_up(carry_out: Callable[[str], bool], rounds: int) -> None:
    """Paint and score; while that leaves a direction short of kept images, its rejected sources are planned again with
    a new variant (method section 6). Which ones follows from the scores alone, so a resumed run asks for the same."""
    for _ in range(rounds):
        painted, scored = carry_out("inpaint"), carry_out("score")
        if not (painted or scored):
            return


def _open_run(workspace: Workspace, config: RunConfig, progress: Progress) -> Dataset:
    """Load the data and write what the run folder says about itself."""
    from ddb.data.sources.load import load_dataset
    from ddb.data.summary import summary
    from ddb.environment import environment
    from ddb.preflight import check_fit, check_models

    check_models(config)
    progress.say(f"{config.name}: reading the data")
    dataset = load_dataset(config.data, workspace.root / "cache")
    check_fit(config, dataset)
    for line in summary(dataset):
        progress.say(line)
    facts = {
        "root": str(dataset.root.resolve()),
        "classes": dataset.classes,
        "attributes": dataset.attributes,
        "phrase": dataset.phrase,
        "fingerprint": dataset.fingerprint,
        "quarantined": [vars(item) for item in dataset.quarantined],
    }
    with shielded():
        files.write_json(workspace.root / "dataset.json", facts)
        files.write_table(workspace.root / "samples.parquet", dataset.samples)
        files.write_json(workspace.root / "environment.json", environment(config.device, config.precision))
        files.write_atomic(workspace.root / "config.yaml", lambda file: file.write(config_text(config).encode()))
        workspace.event("run", name=config.name, seed=config.seed)
    return dataset


def _hand_over(workspace: Workspace, dataset: Dataset, progress: Progress) -> None:
    """Write what the run is for: the balanced data set, the figures, the report."""
    from ddb.data.balanced import export_balanced
    from ddb.data.counterfactuals import Counterfactuals
    from ddb.report.page import write_report

    tables = ("inpaint", "prune", "score", "segment")
    made_from: dict[str, Any] = {name: files.read_json(workspace.folder(name) / "done.json") for name in tables}
    made_from["data"] = dataset.fingerprint
    marker, out = workspace.root / PRODUCT, workspace.root / "balanced"
    if files.read_json(marker) != made_from or not out.is_dir():
        marker.unlink(missing_ok=True)
        progress.say("balanced: writing the training images and the kept counterfactuals")
        export_balanced(Counterfactuals(workspace, dataset), out)
        files.write_json(marker, made_from)
    figures = (workspace.folder("evaluate") / "metrics.json").read_bytes()
    files.write_atomic(workspace.root / "metrics.json", lambda file: file.write(figures))
    write_report(workspace.root)
    progress.say(_headline(json.loads(figures)))
    progress.say(f"report: {workspace.root / 'report.html'}")


def _headline(metrics: dict[str, Any]) -> str:
    before, after = metrics["before"], metrics["after"]
    name = "worst_group_accuracy" if before["worst_group_accuracy"] is not None else "worst_class_accuracy"
    words = name.replace("_", " ").capitalize()
    return (
        f"{words}: {before[name]:.3f} before, {after[name]:.3f} after; {metrics['counts']['kept']} counterfactuals kept"
    )


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
