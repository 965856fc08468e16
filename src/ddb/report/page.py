"""report.html: facts in, one self-contained page out. No network, no scripts but its own, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ddb.report import collect, figures, pictures, timings, words
from ddb.report.reading import Run


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path. Stages that have not run yet leave their part out.

    Raises DDBError where the folder is not a run folder or one of its parts is damaged.
    """
    page = run_folder / "report.html"
    temporary = page.with_name("report.html.tmp")
    temporary.write_text(render(Run(run_folder)), "utf-8")
    os.replace(temporary, page)
    return page


def render(run: Run) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("ddb.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=words.percent, seconds=_seconds, signed=_signed, capitalize_first=_capital)
    style, script = (
        resources.files("ddb.report").joinpath(name).read_text("utf-8") for name in ("style.css", "report.js")
    )
    return environment.get_template("template.html").render(
        **_facts(run),
        figures=figures,
        reasons=words.REASONS,
        meanings=words.MEANINGS,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
    )


def _facts(run: Run) -> dict[str, Any]:
    metrics: dict[str, Any] = run.json("metrics.json") or run.json("evaluate/metrics.json")
    config: dict[str, Any] = yaml.safe_load(run.config_text) or {}
    groups, lines = collect.groups(run, metrics), collect.metric_lines(metrics)
    stages, found = timings.stage_lines(run), collect.directions(run)
    losses, strips = collect.losses(run), pictures.strips(run)
    total = sum(stage.seconds or 0.0 for stage in stages)
    kept = sum(direction.kept for direction in found)
    return {
        "name": config.get("name") or run.folder.resolve().name,
        "about": words.about(run, collect.split_sizes(run), config.get("seed"), _seconds(total) if total else ""),
        "headline": words.headline(groups, lines, stages, kept),
        "warnings": words.warnings(run, metrics, found, groups),
        "notes": [words.selection(metrics), words.leak_note(metrics.get("leak"))],
        "groups": groups,
        "metrics": lines,
        "directions": found,
        "judged": any(direction.reasons for direction in found),
        "largest": max((direction.painted for direction in found), default=1),
        "rules": words.rules(run),
        "masks": collect.mask_counts(run),
        "scatters": collect.scatters(run),
        "strips": strips,
        "verdict_order": pictures.verdict_order(strips),
        "examples": _examples(strips),
        "tokens": pictures.tokens(run),
        "losses": losses,
        "decades": figures.loss_range(losses),
        "stages": stages,
        "total_seconds": total,
        "sections": _sections(config),
        "environment": _flat(run.json("environment.json")),
    }


def _examples(strips: list[pictures.Strip]) -> list[pictures.Strip]:
    """The first kept counterfactual of up to three directions, to show beside the headline."""
    first: dict[tuple[int, int], pictures.Strip] = {}
    for strip in strips:
        if strip.reason == "kept" and strip.original:
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


def _hash(text: str) -> str:
    """A source expression of the Content-Security-Policy that allows exactly this inline text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _seconds(value: float) -> str:
    """75.2 -> "1 min 15 s", with spaces that do not break."""
    if value < 60:
        return f"{value:.1f}\u00a0s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u00a0h\u00a0{minutes}\u00a0min" if hours else f"{minutes}\u00a0min\u00a0{seconds}\u00a0s"


def _signed(value: float, digits: int = 1) -> str:
    """-1.25 -> "−1.2", with a true minus sign; a rounded zero has no sign."""
    text = f"{abs(value):.{digits}f}"
    if not text.strip("0."):
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
