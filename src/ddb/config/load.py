"""From a preset or YAML file and overrides to a `RunConfig`, or to one `ConfigError` that lists every fault."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from ddb.config import DataConfig, RunConfig
from ddb.config.faults import fault_line, faults_message, tree_faults
from ddb.config.preset_backend import drop_unfit
from ddb.config.tree import Tree, at, parse, put, without_empty
from ddb.errors import ConfigError

FILE_SOURCES = ("table", "wilds", "subpopbench", "huggingface", "auto")
"""Values of data.source whose data.root may be a file."""


class Settings(NamedTuple):
    """Unchecked settings as nested dicts; faults of the overrides; notes on keys of a preset that were left out."""

    tree: Tree
    faults: list[str]
    notes: list[str]


def load_config(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: Path | str | None = None,
    seed: int | None = None,
    device: str | None = None,
    say: Callable[[str], None] | None = None,
) -> RunConfig:
    """Read a preset (by name) or YAML file; `data`, `seed` and `device` replace its values, then `overrides` ("a.b=c").

    `data` names a folder, or a CSV/Parquet file, which also sets `data.source` to "table" unless it is a source that
    reads files. A key with an empty value keeps its default. Where another backend than the preset's is asked for, the
    keys that the preset gives for its own are left out, and `say` gets a line that names them. Raises ConfigError with
    every fault: unknown keys, values out of range, settings in conflict.
    """
    tree, faults, notes = read_tree(source, overrides, data=data, seed=seed, device=device)
    faults += tree_faults(tree)
    if faults:
        raise ConfigError(faults_message(str(source), faults))
    if say is not None:
        for note in notes:
            say(note)
    return RunConfig.model_validate(tree)


def data_config(**settings: str) -> DataConfig:
    """The settings of the data alone. ConfigError names the faults."""
    try:
        return DataConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(faults_message("data", [fault_line(detail) for detail in error.errors()])) from None


def preset_names() -> list[str]:
    """Names of the presets that ship with ddb."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _presets().iterdir() if entry.name.endswith(".yaml"))


def read_tree(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: Path | str | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> Settings:
    """The unchecked settings of a preset or file, with the replacements applied. ConfigError: unreadable file."""
    said = _read_source(source)
    tree, own, faults = without_empty(said), Tree(), []
    for path, value in _replacements(tree, data, seed, device):
        put(tree, path, value)
        put(own, path, value)
    for override in overrides:
        key, equals, text = override.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            faults.append(f"--set {override!r}: write it as section.key=value")
            continue
        try:
            value = parse(text)
        except yaml.YAMLError:
            faults.append(f"--set {override!r}: the value is not valid YAML; put quotes around it")
            continue
        put(tree, path, value)
        put(own, path, value)
    preset = str(source) in preset_names()
    return Settings(tree, faults, drop_unfit(str(source), said, tree, own) if preset else [])


def _replacements(
    tree: Tree, data: Path | str | None, seed: int | None, device: str | None
) -> Iterator[tuple[list[str], object]]:
    if data is not None:
        yield ["data", "root"], str(Path(data).resolve())
        if Path(data).is_file() and at(tree, "data", "source") not in FILE_SOURCES:
            yield ["data", "source"], "table"
    for key, value in (("seed", seed), ("device", device)):
        if value is not None:
            yield [key], value


def config_text(config: RunConfig) -> str:
    """The whole configuration as YAML that `load_config` reads back, each value with its meaning as a comment."""
    return "\n".join(_yaml_lines(config, "")) + "\n"


def _presets() -> resources.abc.Traversable:
    return resources.files("ddb.config.presets")


def _read_source(source: str | Path) -> Tree:
    path = Path(source)
    if str(source) in preset_names():
        text = (_presets() / f"{source}.yaml").read_text("utf-8")
    elif path.is_file():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not a text file in UTF-8 (byte {error.start})") from error
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    elif path.is_dir():
        raise ConfigError(f"{path} is a folder: name a preset or a YAML file, and give your images with --data {path}")
    else:
        near = difflib.get_close_matches(str(source), preset_names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"presets are {', '.join(preset_names())}"
        raise ConfigError(f"no preset and no file is called {str(source)!r}; {hint}")
    try:
        tree = parse(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source}, line {line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(f"{source}: should hold settings as `key: value`, not a {type(tree).__name__}")
    return without_empty(tree or {})


def _yaml_lines(model: BaseModel, indent: str) -> Iterator[str]:
    plain = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _yaml_lines(value, indent + "  ")
            continue
        text = "" if value is None else yaml.safe_dump(plain[name], default_flow_style=True, width=10_000)
        setting = f"{indent}{name}: {text}".removesuffix("...\n").rstrip()
        yield f"{setting}  # {field.description}" if field.description else setting
