"""report.html: the figures and pictures of a run folder as one page that is complete in itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ddb.engine import files
from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.report import changes, collect, gallery, pictures, timings, training, unpruned, words
from ddb.report.again import again
from ddb.report.charts import axes, plots, rows
from ddb.report.charts.interval import Interval
from ddb.report.discovered import discovered_groups
from ddb.report.html import html_page, seconds
from ddb.report.made_from import mark_of
from ddb.report.reading import Run
from ddb.report.sources import SourcePictures

STYLES = (("ddb.report", "gallery.css"),)
SCRIPTS = ("scripts/verdicts.js", "scripts/page.js", "scripts/gallery.js", "scripts/thresholds.js")


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    The page shows the stages that are finished under the present settings and names the others. Raises DDBError where
    the folder is not a run folder or one of its parts is damaged.
    """
    workspace = Workspace.at(Path(run_folder))
    states = {stage["stage"]: stage["state"] for stage in describe(workspace)["stages"]}
    text = render(Run(workspace, states), mark_of(workspace))
    page = Path(run_folder) / "report.html"
    files.write_atomic(page, lambda file: file.write(text.encode()))
    return page


def render(run: Run, mark: str = "") -> str:
    """The page as text. `mark`: what it is made from (`made_from.mark_of`). Thumbnails that are not stored yet are
    stored in the run folder."""
    facts = {**_facts(run), "made_from": mark}
    return html_page("ddb.report", "template.html", facts, styles=STYLES, script=SCRIPTS)


def _facts(run: Run) -> dict[str, Any]:
    metrics: dict[str, Any] = run.json("metrics.json", "evaluate")
    config = run.config
    groups, lines = collect.groups(run, metrics), collect.metric_lines(metrics)
    stages, directions = timings.stage_lines(run), collect.directions(run)
    sources = SourcePictures(run)
    losses, strips, tokens = collect.losses(run), pictures.strips(run, sources), pictures.tokens(run, sources)
    shown = gallery.gallery(run, sources)
    where = shown.where if shown else {}
    total = sum(stage.seconds or 0.0 for stage in stages)
    kept = sum(direction.kept for direction in directions)
    return {
        "name": config.get("name") or run.folder.resolve().name,
        "about": words.about(run, collect.split_sizes(run), config.get("seed"), seconds(total) if total else ""),
        "headline": words.headline(groups, lines, run, kept),
        "not_shown": words.not_shown(run),
        "warnings": words.warnings(run, metrics, directions, groups) + words.source_warning(sources.problems),
        "notes": [words.epoch_choice(metrics), words.leak_note(metrics.get("leak"))],
        "groups": groups,
        "discovered": discovered_groups(run, metrics),
        "metrics": lines,
        "directions": directions,
        "has_verdicts": any(direction.reasons for direction in directions),
        "largest": max((direction.painted for direction in directions), default=1),
        "rules": words.rules(run),
        "masks": collect.mask_counts(run),
        "scatters": collect.scatters(run),
        "gallery": None if shown is None else {**shown.facts, "words": words.REASONS, "meanings": words.MEANINGS},
        "where": where,
        "is_live": shown is not None and shown.is_live,
        "changes": changes.changes(run, sources),
        "unpruned": _unpruned(run, lines, metrics),
        "kept": kept,
        "fits": training.fits(run),
        "epoch_rules": words.EPOCH_RULES,
        "again": again(run),
        "small": pictures.are_small(run),
        "strips": strips,
        "examples": _examples(strips),
        "tokens": tokens,
        "losses": losses,
        "loss_axis": axes.log_axis([max(loss, 1e-8) for item in losses for loss in item.losses]),
        "stages": stages,
        "total_seconds": total,
        "sections": _sections(config),
        "environment": _flat(run.json("environment.json")),
        "reasons": words.REASONS,
        "meanings": words.MEANINGS,
        "charts": {
            "before_after": rows.before_after,
            "percent_axis": rows.percent_axis,
            "sparkline": rows.sparkline,
            "verdicts": _verdict_bar,
            "losses": _loss_histogram,
            "scores": partial(_score_scatter, where),
            "curve": _curve,
            "share": lambda share: rows.bar(Interval(share), "timing", ""),
        },
    }


def _verdict_bar(direction: collect.Direction, whole: int) -> str:
    """A direction's counterfactuals by verdict, as one bar."""
    counts = {reason: direction.reasons[reason] for reason in ("kept", "over_budget", "psi", "rho", "psi+rho")}
    said = [f"{count:,} {words.REASONS[reason].lower()}" for reason, count in counts.items() if count]
    said += [f"{direction.undecided:,} without a verdict"] if direction.undecided else []
    parts = [*((_kind(reason), count) for reason, count in counts.items()), (_kind(""), direction.undecided)]
    return rows.stacked_bar(parts, whole, f"{direction.name}: {', '.join(said)}")


def _loss_histogram(losses: collect.ClassLosses, axis: axes.Axis) -> str:
    cut_name = "" if losses.cut is None else f"largest loss of the majority: {losses.cut:.2g}"
    data = plots.Histogram(losses.losses, losses.majority, losses.cut, cut_name, losses.representatives)
    counted = f"{len(losses.losses):,} training losses, {len(losses.majority):,} of them of the majority"
    return plots.histogram(data, axis, f"{losses.name}: histogram of {counted}")


def _unpruned(run: Run, lines: list[collect.MetricLine], metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The measurement without pruning beside the figures of the run; None where there is none."""
    found = unpruned.unpruned(run)
    if found is None:
        return None
    without = collect.metric_lines({**metrics, "after": found.figures})
    own = {line.name: line for line in lines}
    shared = [line for line in without if line.name in collect.OF_A_CLASSIFIER]
    beside = [{**asdict(line), "without": line.after, "after": own[line.name].after} for line in shared]
    return {"lines": beside, "kept": found.kept, "where": found.where}


def _curve(values: list[float], marked: int, is_share: bool, label: str) -> str:
    return plots.curve(values, marked, axes.accuracy_axis(values) if is_share else axes.round_axis(values), label)


def _score_scatter(where: Mapping[str, int], name: str, points: list[collect.Scored]) -> str:
    shown = [(one.psi, one.rho, _kind(one.reason), where.get(one.id)) for one in points]
    return plots.scatter(shown, axes.UNIT, f"{name}: psi against rho of {len(points):,} counterfactuals")


def _kind(reason: str) -> str:
    """The CSS class of a verdict."""
    return f"reason-{reason.replace('+', '-')}" if reason else "reason-none"


def _examples(strips: list[pictures.Strip]) -> list[pictures.Strip]:
    """The first kept counterfactual of up to three directions, to show beside the headline."""
    first: dict[tuple[int, int], pictures.Strip] = {}
    for strip in strips:
        if strip.reason == "kept" and strip.original and strip.counterfactual:
            first.setdefault((strip.from_label, strip.to_label), strip)
    return list(first.values())[:3]


def _sections(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Settings by section; those of the run itself come first."""
    own = {key: value for key, value in config.items() if not isinstance(value, dict)}
    nested = {key: _flat(value) for key, value in config.items() if isinstance(value, dict)}
    return {name: section for name, section in {"run": _flat(own), **nested}.items() if section}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}."""
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            found |= _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list):
            found[f"{prefix}{key}"] = ", ".join(map(str, item))
        else:
            found[f"{prefix}{key}"] = "" if item is None else str(item)
    return found
