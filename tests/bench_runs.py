"""Small benches on the miniature, and their files."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import miniature
from ddb.bench.options import Options
from ddb.bench.run import run_bench
from ddb.bench.show.results import Results
from ddb.config import RunConfig
from ddb.engine.progress import Lines

METHODS = ("erm", "dfr_val", "ddb")


def options(methods: Sequence[str] = METHODS, **changes: Any) -> Options:
    values = {"named": True, "seeds": 2, "select": "worst_group", "search": "first", "tables": ("1", "labels")}
    return Options(methods=tuple(methods), **{**values, **changes})


def run(config: RunConfig, asked: Options, out: Path, log: io.StringIO | None = None) -> Results:
    return run_bench(config, asked, out, Lines(log or io.StringIO()))


def config(birds: Path, **changes: Any) -> RunConfig:
    """The miniature with pruning that keeps images, and a rate at which something is learned."""
    learning = {"epochs": 2, "lr": 0.05}
    sections = {"erm": learning, "retrain": learning, "prune": {"psi": "off", "max_rounds": 1}}
    return miniature.configuration(birds, **{**sections, **changes})


def records(out: Path, kind: str) -> list[dict[str, Any]]:
    """All records of a kind, by seed and name."""
    return [json.loads(path.read_text()) for path in sorted(out.glob(f"seed-*/{kind}/*.json"))]


@dataclass(frozen=True)
class Finished:
    config: RunConfig
    options: Options
    out: Path
    results: Results


TIMES = ("events.jsonl", "report.html", ".lock")


def tree(out: Path) -> dict[str, str]:
    """Hashes of everything but times and caches."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in TIMES and "cache" not in path.parts
    }
