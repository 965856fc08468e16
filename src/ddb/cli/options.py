"""Arguments and options that several verbs of the command line share, and the configuration made from them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ddb.config import RunConfig

Source = Annotated[
    str, typer.Argument(metavar="PRESET|FILE", help="A preset such as pocket-waterbirds or photos, or a YAML file.")
]
Preset = Annotated[str, typer.Option("--preset", metavar="NAME|FILE", help="Settings: a preset or a YAML file.")]
RunOrPreset = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="NAME|FILE", help="Settings: a preset or a YAML file; default: the run's, or photos."
    ),
]
Data = Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="Your images: folder, CSV or Parquet.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="a.b=c", help="Change a setting; may be repeated.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Run folder; default: runs/NAME or runs/NAME-DATA.")
]
Device = Annotated[str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or mps.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of every random draw.")]
Engine = Annotated[str, typer.Option("--engine", metavar="NAME", help="local, or ray: workers of a cluster.")]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Ray's workers; default: what the cluster has room for.")
]
Names = Annotated[list[str], typer.Argument(metavar="ROLE...", help="Roles or hub ids.")]
AnyNames = Annotated[list[str] | None, typer.Argument(metavar="[ROLE|PATH]...", help="Default: what is in the cache.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]


def verbs(help_: str) -> typer.Typer:
    """A group of verbs. Help is plain text: importing rich for it would triple the time that `ddb --help` takes."""
    return typer.Typer(
        help=help_, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
    )


def say(line: str) -> None:
    """Print a note on stderr; stdout is for results."""
    print(line, file=sys.stderr)


def config_of(
    source: str, overrides: Sequence[str] | None, data: Path | None, seed: int | None, device: str | None
) -> RunConfig:
    """The checked settings of a run. Keys of a preset that were left out are named on stderr. ConfigError lists every
    fault."""
    from ddb.config.load import load_config

    return load_config(source, overrides or (), data=data, seed=seed, device=device, say=say)


def with_workers(overrides: Sequence[str] | None, workers: int | None) -> list[str]:
    """The overrides with that of `--workers`."""
    return [*(overrides or ()), *([] if workers is None else [f"ray.workers={workers}"])]
