"""`ddb discover`: find what could be a shortcut, without attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ddb.cli.options import Device, Preset, Seed, Set, config_of, say

DRAWN = "pocket"
"""The word in the place of a folder where the preset draws its data."""


def discover(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Your images: folder, CSV or Parquet; pocket: drawn by the preset."),
    ],
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="A trained classifier, whose errors are tested too.")
    ] = None,
    preset: Preset = "photos",
    overrides: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results; default: runs/discover-NAME.")
    ] = None,
    device: Device = None,
    seed: Seed = None,
) -> None:
    """Find and name what could be a shortcut. No attribute is read."""
    from ddb.discovery.run import discover as find
    from ddb.discovery.words import sentences, verdict

    drawn = data == DRAWN and not Path(data).exists()
    config = config_of(preset, overrides, None if drawn else Path(data), seed, device)
    found = find(config, out or Path("runs") / f"discover-{config.name}", model=model, say=say)
    print(verdict(found))
    for finding in found.findings:
        for line in sentences(finding, found.dataset.classes):
            print(f"  {finding.where}: {line}")
    print(found.folder / "discover.html")
    if found.groups is not None:
        print(found.groups)
