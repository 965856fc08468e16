"""The command line's groups of verbs: config, models, pocket, data. `ddb.cli` adds them to the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ddb.cli.options import AnyNames, Data, Names, Set, Source, config_of, say, verbs

config_app = verbs("Show settings.")
models_app = verbs("Published weights.")
pocket_app = verbs("The built-in world.")
data_app = verbs("Look at data sets.")


@models_app.command("list")
def models_list() -> None:
    """Every role: repository, commit, licence, size, mirrors."""
    from ddb.models.listing import listed

    for line in listed():
        print(line)


@models_app.command("pull")
def models_pull(names: Names) -> None:
    """Download weights into the hub's cache and verify them."""
    from ddb.models.listing import pulled

    for name in names:
        for line in pulled(name):
            print(line, flush=True)


@models_app.command("verify")
def models_verify(names: AnyNames = None) -> None:
    """Compare commit and hashes with the known ones. Exit code 1 unless all are verified."""
    from ddb.models.listing import in_words, verdicts

    found = verdicts(names or [])
    for name, verdict in found:
        print(f"{name:<20} {in_words(verdict)}")
    if any(verdict.state != "verified" for _, verdict in found):
        raise typer.Exit(1)


@models_app.command("where")
def models_where(name: Annotated[str, typer.Argument(metavar="ROLE")]) -> None:
    """Print the folder that holds the weights."""
    from ddb.models.listing import weights_folder

    print(weights_folder(name))


@config_app.command("show")
def config_show(source: Source, data: Data = None, overrides: Set = None) -> None:
    """Print every setting with its value and meaning, as YAML that can be edited and run."""
    from ddb.config.load import config_text

    print(config_text(config_of(source, overrides, data, None, None)), end="")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the settings."""
    from ddb.config import RunConfig

    print(json.dumps(RunConfig.model_json_schema(), indent=2))


@pocket_app.command("write")
def pocket_write(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder.")],
    overrides: Set = None,
) -> None:
    """Draw a built-in data set into a folder, in the layout of the real one. Which: --set data.pocket.world=waterbirds,
    metashift, celeba or urban; its size: --set data.pocket.train=N."""
    from ddb.pocket.datasets import write_pocket

    print(write_pocket(folder, config_of("pocket-waterbirds", overrides, None, None, None).data.pocket))


@data_app.command("inspect")
def data_inspect(
    folder: Annotated[str, typer.Argument(metavar="DIR|FILE", help="Folder, or CSV or Parquet file.")],
    source: Annotated[str, typer.Option("--source", help="How to read it (data.source); auto finds out.")] = "auto",
    target: Annotated[str, typer.Option("--target", help="Attribute or column that is the label.")] = "",
    attribute: Annotated[str, typer.Option("--attribute", help="Attribute or column for the groups.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it for machines.")] = False,
) -> None:
    """Say what a folder is: counts per split and group, sizes, broken files, duplicates, association."""
    from dataclasses import asdict

    from ddb.config.load import data_config
    from ddb.data.inspection.inspect import inspect_data
    from ddb.data.inspection.words import in_words

    config = data_config(root=folder, source=source, target=target, attribute=attribute)
    found = inspect_data(config, say=say)
    print(json.dumps(asdict(found), indent=2) if as_json else in_words(found))
