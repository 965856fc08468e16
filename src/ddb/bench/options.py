"""The options of a bench, checked before anything is computed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb.config import RunConfig
from ddb.engine.cluster.connection import check_engine
from ddb.errors import ConfigError
from ddb.rivals import RIVALS

DDB = "ddb"
METHODS = (DDB, *RIVALS)
SELECTION_RULES = ("worst_group", "worst_class", "counterfactual")
GROUPS = ("given", "discovered")
SEARCHES = ("first", "every", "off")
TABLES = ("1", "2", "3", "counts", "labels")


@dataclass(frozen=True)
class Options:
    """`methods`: in order; `named`: whether they were listed by name, so that none may be left out. `select`: the rule
    that selects epochs and hyperparameters. `search`: "first", "every" or "off": the seeds with which hyperparameters
    are searched. `concepts`: DISC's folder of concept images. `engine`: "local" or "ray". `processes`: number of parts
    that run at once; 0 (ray): as many as the cluster has room for. `groups`: those that methods are given, "given"
    (attributes) or "discovered"; test figures are over given ones."""

    methods: tuple[str, ...]
    named: bool
    seeds: int
    select: str
    search: str
    tables: tuple[str, ...]
    concepts: Path | None = None
    engine: str = "local"
    processes: int = 1
    groups: str = "given"


@dataclass(frozen=True)
class Asked:
    """The options of the command line, unparsed."""

    methods: str
    seeds: int
    select: str
    search: str
    tables: str
    engine: str
    concepts: Path | None
    processes: int | None = None
    groups: str = "given"


def options(asked: Asked) -> Options:
    """The options that the command line asks for. ConfigError for an unknown value, with the known ones."""
    for value, known, what in (
        (asked.select, SELECTION_RULES, "select"),
        (asked.search, SEARCHES, "search"),
        (asked.groups, GROUPS, "groups"),
    ):
        if value not in known:
            raise ConfigError(f"--{what} {value}: choose {' or '.join(known)}.")
    check_engine(asked.engine)
    for name in ("seeds", "processes"):
        if (number := getattr(asked, name)) is not None and number < 1:
            raise ConfigError(f"--{name} {number}: at least one.")
    return Options(
        methods=tuple(METHODS if asked.methods == "all" else _listed(asked.methods, METHODS, "method")),
        named=asked.methods != "all",
        seeds=asked.seeds,
        select=asked.select,
        search=asked.search,
        tables=tuple(TABLES if asked.tables == "all" else _listed(asked.tables, TABLES, "table")),
        concepts=asked.concepts,
        engine=asked.engine,
        processes=asked.processes or (0 if asked.engine == "ray" else 1),
        groups=asked.groups,
    )


def check_studies(config: RunConfig, tables: Sequence[str]) -> None:
    """ConfigError for a table that cannot be made with these settings."""
    if "3" in tables and config.inpaint.backend == "copy_paste":
        raise ConfigError(
            "--tables 3 varies the images that tokens are learned from, and inpaint.backend copy_paste learns none: "
            "leave table 3 out, or use latent_diffusion."
        )


def _listed(text: str, known: Sequence[str], what: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}, or all."
            raise ConfigError(f"there is no {what} {name!r}; {hint}")
    if not names:
        raise ConfigError(f"name at least one {what}: {', '.join(known)}, or all.")
    return names
