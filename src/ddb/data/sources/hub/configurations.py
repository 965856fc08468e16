"""Configurations of a data set from the hub: several data sets in one folder, of which a run can read one."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from ddb.data.sources.layout.split_names import split_in_path
from ddb.errors import DataError


def check_one_configuration(folder: Path, files: Sequence[Path]) -> None:
    """DataError names the configurations where the Parquet files (relative to `folder`) belong to several: their
    folders differ in more than the names of splits, or README.md lists several whose files are there."""
    folders = {tuple(part for part in path.parent.parts if split_in_path(part) is None) for path in files}
    named = sorted("/".join(parts) or "." for parts in folders)
    if len(named) > 1:
        raise DataError(
            f"{folder} holds the Parquet files of {len(named)} configurations: {_listed(named)}. Set data.root to the "
            f"folder of one ({folder / named[-1]})"
        )
    described = _described(folder / "README.md")
    there = sorted(
        name for name, patterns in described.items() if any(fnmatch(str(f), p) for f in files for p in patterns)
    )
    if len(there) > 1:
        raise DataError(
            f"{folder}: README.md lists {len(there)} configurations whose files are there: {_listed(there)}. Copy the "
            "Parquet files of one into a folder of its own and set data.root to it"
        )


def _described(readme: Path) -> dict[str, list[str]]:
    """Configuration -> patterns of its files, from the header of a data set's card; empty where it lists none."""
    try:
        parts = readme.read_text("utf-8").split("---\n", 2)
        header = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    configs = header.get("configs") if isinstance(header, dict) else None
    found = {}
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict):
            inner = f"{config['data_dir']}/*" if config.get("data_dir") else None
            found[str(config.get("config_name", "default"))] = _patterns(config.get("data_files", inner))
    return found


def _patterns(value: Any) -> list[str]:
    """Patterns in any of the forms that a card may use: text, a list, {split, path} or {split: pattern}."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [pattern for item in value for pattern in _patterns(item)]
    if isinstance(value, dict):
        return _patterns(value["path"]) if "path" in value else _patterns(list(value.values()))
    return []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
