"""The results of a run as a fragment of HTML, for notebooks: no script, nothing loaded, everything escaped."""

from __future__ import annotations

from pathlib import Path

from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.report import collect, words
from ddb.report.html import html_page
from ddb.report.reading import Run


def summary_html(folder: Path) -> str:
    """What the run folder holds under its present settings: headline, accuracy per group, and where the report lies.
    Raises DDBError where the folder is not a run folder or one of its parts is damaged."""
    workspace = Workspace.at(folder)
    run = Run(workspace, {stage["stage"]: stage["state"] for stage in describe(workspace)["stages"]})
    metrics = run.json("metrics.json", "evaluate")
    groups, lines = collect.groups(run, metrics), collect.metric_lines(metrics)
    kept = sum(direction.kept for direction in collect.directions(run))
    facts = {
        "name": run.config.get("name") or folder.resolve().name,
        "headline": words.headline(groups, lines, run, kept),
        "groups": groups,
        "not_shown": words.not_shown(run),
        "folder": str(folder),
        "has_report": (folder / "report.html").is_file(),
    }
    return html_page("ddb.report", "parts/notebook.html", facts)
