"""The files at the top of a run folder: facts that are written at the start of a run, and its results at the end.

The addresses `classifier/`, `balanced/`, `metrics.json` and `report.html` stay the same whatever the settings are;
`handed_over.json` says which results they were made from.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddb.config import RunConfig
from ddb.config.load import config_text
from ddb.data.table import Dataset
from ddb.engine import files, journal
from ddb.engine.identity import mark
from ddb.engine.interrupt import shielded
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError

HANDED_OVER = "handed_over.json"
DATASET = "dataset.json"
MADE_FROM = {
    "classifier": ("retrain",),
    "balanced": ("segment", "inpaint", "score", "prune"),
    "metrics.json": ("evaluate",),
}
"""The stages that each address is made from."""


def default_folder(config: RunConfig) -> Path:
    """runs/NAME, or runs/NAME-DATA with the name of the data's folder or file where the data is the user's."""
    if config.data.source == "pocket" or not config.data.root:
        return Path("runs") / config.name
    data = Path(config.data.root).resolve()
    return Path("runs") / f"{config.name}-{data.stem if data.is_file() else data.name}"


def open_run(workspace: Workspace, config: RunConfig, progress: Progress) -> Dataset:
    """Load and check data and models, and write the facts of the run into the run folder."""
    from ddb.environment import environment
    from ddb.preflight import prepare_run

    progress.say(f"{config.name}: reading the data")
    dataset, lines = prepare_run(config, workspace.root / "cache")
    check_owner(workspace, config, dataset)
    for line in lines:
        progress.say(line)
    with shielded():
        files.write_json(workspace.root / "environment.json", environment(config.device, config.precision))
        write_facts(workspace, config, dataset)
    return dataset


def write_facts(workspace: Workspace, config: RunConfig, dataset: Dataset) -> None:
    """Write the data and the settings of the run into the run folder, and that it starts."""
    with shielded():
        files.write_json(workspace.root / DATASET, _facts(config, dataset))
        files.write_table(workspace.root / "samples.parquet", dataset.samples)
        files.write_atomic(workspace.root / "config.yaml", lambda file: file.write(config_text(config).encode()))
        journal.event(workspace.root, "run", name=config.name, seed=config.seed)


def check_owner(workspace: Workspace, config: RunConfig, dataset: Dataset) -> None:
    """A run folder belongs to one name and one data set, which may move or change, but not both at once. Raises
    ConfigError where another run would be overwritten."""
    before, now = files.read_json(workspace.root / DATASET), _facts(config, dataset)
    if before is None or not {"name", "root", "content"} <= before.keys():
        return  # nothing is there, or what an older version wrote before its first stage
    same_data = before["root"] == now["root"] or before["content"] == now["content"]
    if before["name"] != now["name"]:
        raise ConfigError(
            f"{workspace.root}: belongs to the run {before['name']!r}, not to {now['name']!r}. Choose another --out."
        )
    if not same_data:
        raise ConfigError(
            f"{workspace.root}: belongs to the data in {before['root']}, and {now['root']} is another data set. Choose "
            "another --out, or another name with --set name=..."
        )


def hand_over(workspace: Workspace, dataset: Dataset, progress: Progress) -> None:
    """Write the results of the run: the classifier, the balanced data set, the figures, the report."""
    from ddb.report.made_from import has_mark, mark_of

    for address, write in (("classifier", _classifier), ("balanced", _balanced), ("metrics.json", _figures)):
        _bring_up_to_date(workspace, dataset, progress, address, write)
    page = workspace.root / "report.html"
    if not has_mark(page, mark_of(workspace)):
        from ddb.report.page import write_report

        write_report(workspace.root)
    progress.say(_headline(files.read_json(workspace.root / "metrics.json") or {}))
    progress.say(f"report: {page}")


def made_from(workspace: Workspace, address: str) -> dict[str, str] | None:
    """The present results that an address is made from: stage -> fingerprint and digest; and the data (its images are
    in `balanced/`). None where a stage is not finished."""
    found = {"data": (files.read_json(workspace.root / DATASET) or {}).get("fingerprint", "")}
    for stage in MADE_FROM[address]:
        current, done = workspace.current(stage), workspace.done(stage)
        if current is None or done is None:
            return None
        found[stage] = mark(current.fingerprint, done)
    return found


def is_up_to_date(workspace: Workspace, address: str) -> bool:
    """Whether the content of an address was made from the present results."""
    wanted = made_from(workspace, address)
    handed = files.read_json(workspace.root / HANDED_OVER) or {}
    return wanted is not None and handed.get(address) == wanted and (workspace.root / address).exists()


def _facts(config: RunConfig, dataset: Dataset) -> dict[str, Any]:
    return {
        "name": config.name,
        "root": str(dataset.root.resolve()),
        "classes": dataset.classes,
        "attributes": dataset.attributes,
        "phrase": dataset.phrase,
        "fingerprint": dataset.fingerprint,
        "content": dataset.content,
        "quarantined": [vars(item) for item in dataset.quarantined],
    }


def _bring_up_to_date(
    workspace: Workspace,
    dataset: Dataset,
    progress: Progress,
    address: str,
    write: Callable[[Workspace, Dataset, Path], None],
) -> None:
    """Write the content of an address, unless it was made from the present results."""
    if is_up_to_date(workspace, address):
        return
    marker = workspace.root / HANDED_OVER
    handed = {name: value for name, value in (files.read_json(marker) or {}).items() if name != address}
    files.write_json(marker, handed)  # the content is invalid while it is replaced
    progress.say(f"{address}: writing")
    write(workspace, dataset, workspace.root / address)
    files.write_json(marker, {**handed, address: made_from(workspace, address)})


def _classifier(workspace: Workspace, dataset: Dataset, out: Path) -> None:
    """A copy, so that the folder can be moved or uploaded alone."""
    draft = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(workspace.folder("retrain") / "classifier", draft)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(draft, out)


def _balanced(workspace: Workspace, dataset: Dataset, out: Path) -> None:
    from ddb.data.balanced import export_balanced
    from ddb.data.counterfactuals import Counterfactuals

    export_balanced(Counterfactuals(workspace, dataset), out)


def _figures(workspace: Workspace, dataset: Dataset, out: Path) -> None:
    figures = (workspace.folder("evaluate") / "metrics.json").read_bytes()
    files.write_atomic(out, lambda file: file.write(figures))


def _headline(metrics: dict[str, Any]) -> str:
    before, after = metrics["before"], metrics["after"]
    name = "worst_group_accuracy" if before["worst_group_accuracy"] is not None else "worst_class_accuracy"
    words = name.replace("_", " ").capitalize()
    return (
        f"{words}: {before[name]:.3f} before, {after[name]:.3f} after; {metrics['counts']['kept']} counterfactuals kept"
    )
