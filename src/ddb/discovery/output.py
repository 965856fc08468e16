"""The files of a discovery: groups.csv, discover.json, discover.html and a contact sheet a cluster."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict
from typing import Any

import numpy as np

from ddb.data.discovered import Assigned, groups_csv
from ddb.discovery import words
from ddb.discovery.findings import Finding, Group
from ddb.discovery.result import Discovery
from ddb.discovery.sheets import SHOWN, examples, picture, write_sheet
from ddb.engine import files
from ddb.report.html import html_page
from ddb.report.thumbnails import data_uri

SHEETS = "sheets"
ON_PAGE = 8
"""Images of a group on the page."""


def write(found: Discovery) -> None:
    """Write all files; groups.csv where something was found."""
    groups = found.folder / "groups.csv"
    if found.chosen:
        text = groups_csv(found.dataset, _assigned(found, found.chosen))
        files.write_atomic(groups, lambda file: file.write(text.encode()))
    else:
        groups.unlink(missing_ok=True)
    shutil.rmtree(found.folder / SHEETS, ignore_errors=True)
    for number, finding in enumerate(found.findings, start=1):
        _write_sheets(found, finding, number)
    files.write_json(found.folder / "discover.json", facts(found))
    styles = (("ddb.discovery", "discover.css"),)
    page = html_page("ddb.discovery", "discover.html", _page_facts(found), styles=styles)
    files.write_atomic(found.folder / "discover.html", lambda file: file.write(page.encode()))


def facts(found: Discovery) -> dict[str, Any]:
    """The content of discover.json."""
    return {
        "found": bool(found.surroundings),
        "usable": bool(found.surroundings) and not found.surroundings[0].inseparable,
        "made_from": found.made_from,
        "verdict": words.verdict(found),
        "data": found.dataset.content,
        "classes": list(found.dataset.classes),
        "encoder": found.encoder,
        "model": found.model,
        "images": len(found.embedded.read),
        "objects_found": int(found.embedded.found.sum()),
        "groups_from": found.chosen.where if found.chosen else None,
        "findings": [_finding(finding, found) for finding in found.findings],
        "notes": words.notes(found),
    }


def _finding(finding: Finding, found: Discovery) -> dict[str, Any]:
    names = found.dataset.classes
    groups = [
        {
            "name": group.name,
            "words": [{"word": word, "cosine": cosine} for word, cosine in group.words],
            "goes_with": None if group.goes_with is None else names[group.goes_with],
            "clusters": list(group.clusters),
            "training_images": group.images,
            "share_of_class": dict(zip(names, group.shares, strict=True)),
        }
        for group in finding.groups
    ]
    errors = [{**asdict(one), "label": names[one.label]} for one in finding.errors]
    numbers = {"phi": finding.phi, "p": finding.p, "inseparable": finding.inseparable}
    return {"where": finding.where, **numbers, "groups": groups, "errors": errors}


def _assigned(found: Discovery, finding: Finding) -> list[Assigned]:
    """A row per image that was embedded."""
    images = found.dataset.samples["image"].to_pylist()
    return [
        Assigned(images[row], finding.groups[finding.members[row]].name, float(finding.sure[row]))
        for row in np.flatnonzero(finding.members >= 0).tolist()
    ]


def _write_sheets(found: Discovery, finding: Finding, number: int) -> None:
    folder = found.folder / SHEETS
    folder.mkdir(exist_ok=True)
    for group in finding.groups:
        for cluster in group.clusters:
            rows = examples(finding, finding.clusters == cluster, found.dataset, SHOWN)
            name = f"{number}-{finding.where}-{cluster}-{_slug(group.name)}.png"
            heading = f"{finding.where}, cluster {cluster}: {', '.join(word for word, _ in group.words) or group.name}"
            write_sheet(folder / name, heading, rows, found.dataset)


def _page_facts(found: Discovery) -> dict[str, Any]:
    classes = found.dataset.classes
    return {
        "title": words.verdict(found),
        "about": f"{len(found.embedded.read):,} images of {', '.join(classes)}. Encoder: {found.encoder}."
        + (f" Model: {found.model}." if found.model else " No model was given, so no errors were tested."),
        "warnings": words.notes(found),
        "classes": classes,
        "groups_from": found.chosen.where if found.chosen else "",
        "findings": [
            {
                "where": finding.where,
                "sentences": words.sentences(finding, classes),
                "groups": [_shown(found, finding, number, group) for number, group in enumerate(finding.groups)],
            }
            for finding in found.findings
        ],
    }


def _shown(found: Discovery, finding: Finding, number: int, group: Group) -> dict[str, Any]:
    rows = examples(finding, finding.members == number, found.dataset, ON_PAGE)
    labels = found.dataset.samples["label"].to_numpy()
    return {
        "group": group,
        "goes_with": "" if group.goes_with is None else found.dataset.classes[group.goes_with],
        "words": ", ".join(f"{word} ({cosine:.2f})" for word, cosine in group.words),
        "pictures": [(data_uri(picture(found.dataset, row)), found.dataset.classes[labels[row]]) for row in rows],
    }


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "group"
