"""The files of an audit: audit.json (its schema is in docs/audit.md), audit.html, and a JUnit file where it is asked
for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ddb.auditing.bars import NAMED, Verdict, verdicts
from ddb.auditing.record import Audit
from ddb.auditing.show.examples import Examples
from ddb.auditing.show.page import page
from ddb.engine import files
from ddb.errors import DDBError

SCHEMA = 1
"""Version of the form of audit.json: it changes where a key changes its meaning or goes."""
PAGE, FIGURES = "audit.html", "audit.json"


def write_audit(found: Audit, shown: Examples, bars: Mapping[str, float], out: Path) -> tuple[Path, Path]:
    """Write both files into the folder `out`; returns (page, figures). DDBError where it cannot be written."""
    decided = verdicts(found, bars)
    try:
        out.mkdir(parents=True, exist_ok=True)
        files.write_json(out / FIGURES, as_json(found, decided))
        text = page(found, shown, decided)
        files.write_atomic(out / PAGE, lambda file: file.write(text.encode()))
    except OSError as error:
        raise DDBError(f"{out}: cannot be written ({error.strerror or error}). Choose another --out.") from error
    return out / PAGE, out / FIGURES


def as_json(found: Audit, decided: Sequence[Verdict]) -> dict[str, Any]:
    """The content of audit.json: everything that was measured, and under `figures` the named ones with their bars."""
    figures = {
        one.name: {
            "meaning": NAMED[one.name].meaning,
            "figure": None if one.figure is None else asdict(one.figure),
            "bar": one.bar,
            "missed": one.missed,
        }
        for one in decided
    }
    return {"schema": SCHEMA, "figures": figures, **asdict(found)}
