"""`ddb run --discover`: groups are looked for before the run, in its folder, and choose the epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ddb.config import RunConfig
from ddb.engine import files
from ddb.errors import ConfigError
from ddb.run_folder import default_folder

FOLDER = "discover"
"""Folder of the results below the run folder."""


def discover_first(
    config: RunConfig, out: Path | None, *, dry: bool = False, say: Callable[[str], object] = print
) -> RunConfig:
    """The settings of a run that uses the groups which are found in its data: `data.groups` names them, and
    `erm.selection` and `retrain.selection` are "discovered". The settings as they are where nothing is found in the
    surroundings, or where these cannot be told from the class: groups that equal the classes choose nothing.

    Results of an earlier call with the same data and settings are used. `dry`: nothing is computed; without earlier
    results the settings are returned as they are. DDBError as `ddb.discovery.run.discover`, and where a launcher
    started several processes before there are results."""
    from ddb.discovery.run import discover, identity_of

    run = out or default_folder(config)
    folder = run / FOLDER
    before = files.read_json(folder / "discover.json")
    if before is None or before.get("made_from") != identity_of(config, run / "cache"):
        if dry:
            say("discover: to be computed first")
            return config
        _alone()
        discover(config, folder, cache=run / "cache", say=say)
        before = files.read_json(folder / "discover.json") or {}
    say(f"discover: {before['verdict']} ({folder / 'discover.html'})")
    if not before["usable"]:
        return config
    tree = config.model_dump()
    tree["data"]["groups"] = str((folder / "groups.csv").resolve())
    for section in ("erm", "retrain"):
        tree[section]["selection"] = "discovered"
    return RunConfig.model_validate(tree)


def _alone() -> None:
    """ConfigError where this process was started as one of several: all of them would look, into the same folder."""
    from ddb.learn.processes import started_with_others

    if started_with_others():
        raise ConfigError(
            "--discover looks for groups in one process, and this launch has several. Run `ddb discover` first, and "
            "launch with --set data.groups=groups.csv --set erm.selection=discovered --set retrain.selection=discovered"
        )
