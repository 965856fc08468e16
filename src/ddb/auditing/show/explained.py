"""The files of `ddb explain`: explain.json (its schema is in docs/audit.md) and explain.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ddb import __version__
from ddb.auditing.explain.record import Contributions, Explanation
from ddb.engine import files
from ddb.errors import DDBError
from ddb.report.charts.svg import chart, rect
from ddb.report.html import html_page

SCHEMA = 1
"""Version of the form of explain.json."""
PAGE, FIGURES = "explain.html", "explain.json"
PICTURES = ("picture", "outline")


def write_explanations(found: Sequence[Explanation], facts: Mapping[str, Any], out: Path) -> tuple[Path, Path]:
    """Write both files into the folder `out`; returns (page, figures). `facts`: model, data, masks, phrase, space of
    the features, number of images searched. DDBError where it cannot be written."""
    text = html_page(
        "ddb.auditing.show",
        "explain.html",
        {"facts": facts, "found": found, "split_bar": split_bar, "version": __version__},
        styles=(("ddb.auditing.show", "audit.css"),),
    )
    value = {"schema": SCHEMA, "ddb": __version__, **facts, "images": [_without_pictures(asdict(one)) for one in found]}
    try:
        out.mkdir(parents=True, exist_ok=True)
        files.write_json(out / FIGURES, value)
        files.write_atomic(out / PAGE, lambda file: file.write(text.encode()))
    except OSError as error:
        raise DDBError(f"{out}: cannot be written ({error.strerror or error}). Choose another --out.") from error
    return out / PAGE, out / FIGURES


def split_bar(found: Contributions, phrase: str) -> Markup:
    """The sizes of both contributions side by side, as one bar."""
    share = found.surroundings_share or 0.0
    marks = [
        rect("object fill", 0, 4, 100 * (1 - share), 16),
        rect("around fill", 100 * (1 - share), 4, 100 * share, 16),
    ]
    return chart(marks, 24, f"{phrase} {1 - share:.0%}, surroundings {share:.0%}", "row")


def _without_pictures(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_pictures(one) for key, one in value.items() if key not in PICTURES}
    return [_without_pictures(one) for one in value] if isinstance(value, list | tuple) else value
