"""The command line: each verb parses, calls a library function and prints. Heavy imports are inside the verbs, so that
`ddb --help` answers at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ddb import __version__
from ddb.cli.auditing import audit, explain
from ddb.cli.discovering import discover
from ddb.cli.groups import config_app, data_app, models_app, pocket_app
from ddb.cli.options import (
    Data,
    Device,
    Engine,
    Out,
    Run,
    Seed,
    Set,
    Source,
    Workers,
    config_of,
    say,
    verbs,
    with_workers,
)
from ddb.cli.outcome import faults_logged, finish
from ddb.cli.stage_verbs import add_stage_verbs, run_into
from ddb.errors import DDBError

app = verbs("Diffusion driven balancing: make an image classifier look at the object, not at what surrounds it.")
app.add_typer(config_app, name="config")
app.add_typer(models_app, name="models")
app.add_typer(pocket_app, name="pocket")
app.add_typer(data_app, name="data")
add_stage_verbs(app)
app.command("discover")(discover)
app.command("audit")(audit)
app.command("explain")(explain)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"ddb {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before a verb."""


@app.command()
def run(
    source: Source,
    data: Data = None,
    overrides: Set = None,
    out: Out = None,
    device: Device = None,
    seed: Seed = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be computed, why, and how long it took last time.")
    ] = False,
    engine: Engine = "local",
    workers: Workers = None,
    find: Annotated[
        bool, typer.Option("--discover", help="Look for shortcuts first; groups that are found choose the epoch.")
    ] = False,
) -> None:
    """Run the whole method; run it again to go on where it stopped."""
    config = config_of(source, with_workers(overrides, workers), data, seed, device)
    if find:
        from ddb.discovery.before_run import discover_first

        config = discover_first(config, out, dry=dry, say=say)
    if dry:
        from ddb import pipeline

        for line in pipeline.dry_run(config, out):
            print(line)
    else:
        run_into(config, out, engine=engine)


@app.command()
def bench(
    source: Source,
    data: Data = None,
    overrides: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Bench folder; default: runs/bench-NAME.")
    ] = None,
    device: Device = None,
    methods: Annotated[str, typer.Option("--methods", metavar="A,B", help="Names, or all.")] = "all",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="How many.")] = 5,
    select: Annotated[
        str, typer.Option("--select", help="Validation signal: worst_group, worst_class or counterfactual.")
    ] = "worst_group",
    search: Annotated[
        str, typer.Option("--search", help="Hyperparameters: first (seed), every (seed) or off.")
    ] = "first",
    tables: Annotated[str, typer.Option("--tables", metavar="A,B", help="1, 2, 3, counts, labels, or all.")] = "1",
    engine: Engine = "local",
    concepts: Annotated[
        Path | None, typer.Option("--concepts", metavar="DIR", help="DISC's concept images, a sub-folder each.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", help="Fits at once, each with its share of the cores.")
    ] = None,
    groups: Annotated[
        str, typer.Option("--groups", metavar="WHICH", help="Groups that methods are given: given or discovered.")
    ] = "given",
) -> None:
    """Compare ddb with other methods over seeds. Run it again to go on."""
    from ddb.bench.options import Asked, options
    from ddb.bench.run import run_bench
    from ddb.bench.show.terminal import show

    config = config_of(source, overrides, data, None, device)
    asked = options(Asked(methods, seeds, select, search, tables, engine, concepts, processes, groups))
    folder = out or Path("runs") / f"bench-{config.name}"
    with faults_logged(folder):
        show(run_bench(config, asked, folder), sys.stdout)
    print(folder / "bench.html")


@app.command()
def check(source: Source, data: Data = None, overrides: Set = None, device: Device = None) -> None:
    """Report every fault that would stop a run; compute nothing."""
    from ddb.preflight import check as check_all

    for line in check_all(source, overrides or (), data=data, device=device, say=say):
        print(line)


@app.command()
def doctor(source: Source, data: Data = None, overrides: Set = None, device: Device = None) -> None:
    """Say what this machine lacks for a run, and how to mend it."""
    from ddb.doctor import examine

    findings = examine(source, overrides or (), data=data, device=device, say=say)
    for finding in findings:
        print(f"{'missing' if finding.remedy else 'ok':<8} {finding.what:<20} {finding.found}")
        if finding.remedy:
            print(f"{'':<29} -> {finding.remedy}")
    if any(finding.remedy for finding in findings):
        raise typer.Exit(1)


@app.command()
def status(
    run_folder: Run, as_json: Annotated[bool, typer.Option("--json", help="Print it for machines.")] = False
) -> None:
    """Say what is done and what is left."""
    from ddb import pipeline
    from ddb.engine.state import in_words

    state = pipeline.status(run_folder)
    print(json.dumps(state, indent=2) if as_json else in_words(state))


@app.command()
def clean(
    run_folder: Run, yes: Annotated[bool, typer.Option("--yes", help="Do not ask before removing.")] = False
) -> None:
    """Remove results that the present settings do not use."""
    from ddb.engine import journal
    from ddb.engine.clean import in_words, remove, unused
    from ddb.engine.workspace import Workspace

    workspace = Workspace.at(run_folder)
    with journal.locked(run_folder):
        found = unused(workspace)
        for line in in_words(workspace, found):
            print(line)
        if found and (yes or _confirmed("Remove them?")):
            remove(found)
            print("removed")


def _confirmed(question: str) -> bool:
    """DDBError where nobody answers: stdin is at its end."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        raise DDBError("nothing was removed: the question was not answered. --yes removes without asking.") from None


@app.command()
def export(run_folder: Run, folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder.")]) -> None:
    """Copy the balanced data and the classifier out of a run."""
    from ddb.export import export_run

    print(export_run(run_folder, folder))


@app.command()
def report(run_folder: Run) -> None:
    """Write report.html anew from what the run folder holds."""
    from ddb.report.page import write_report

    print(write_report(run_folder))


def main() -> None:
    """The command line: see `ddb.cli.outcome` for messages and exit codes."""
    finish(app)
