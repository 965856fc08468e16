"""From a preset or YAML file and overrides to a `RunConfig`, or to one `ConfigError` that lists every fault."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ddb.config import DataConfig, RunConfig
from ddb.errors import ConfigError

Tree = dict[str, Any]

FILE_SOURCES = ("table", "wilds", "subpopbench", "auto")
"""Values of data.source whose data.root may be a file."""


def load_config(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: Path | str | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> RunConfig:
    """Read a preset (by name) or YAML file; `data`, `seed` and `device` replace its values, then `overrides` ("a.b=c").

    `data` names a folder, or a CSV/Parquet file, which also sets `data.source` to "table" unless it is a source that
    reads files. A key with an empty value keeps its default. Raises ConfigError with every fault: unknown keys, values
    out of range, settings in conflict.
    """
    tree, faults = read_tree(source, overrides, data=data, seed=seed, device=device)
    faults += tree_faults(tree)
    if faults:
        raise ConfigError(faults_message(str(source), faults))
    return RunConfig.model_validate(tree)


def data_config(**settings: str) -> DataConfig:
    """The settings of the data alone. ConfigError names the faults."""
    try:
        return DataConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(faults_message("data", [_fault_line(detail) for detail in error.errors()])) from None


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
) -> tuple[Tree, list[str]]:
    """The settings as nested dicts, not yet checked, and the faults of the overrides. ConfigError: unreadable file."""
    tree = _read_source(source)
    if data is not None:
        _put(tree, ["data", "root"], str(Path(data).resolve()))
        if Path(data).is_file() and _get(tree, "data", "source") not in FILE_SOURCES:
            _put(tree, ["data", "source"], "table")
    for key, value in (("seed", seed), ("device", device)):
        if value is not None:
            tree[key] = value
    faults = []
    for override in overrides:
        key, equals, text = override.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            faults.append(f"--set {override!r}: write it as section.key=value")
            continue
        try:
            _put(tree, path, _parse(text))
        except yaml.YAMLError:
            faults.append(f"--set {override!r}: the value is not valid YAML; put quotes around it")
    return tree, faults


def tree_faults(tree: Tree) -> list[str]:
    """Every fault of nested settings, one line each; none: `RunConfig.model_validate(tree)` succeeds."""
    faults = []
    try:
        RunConfig.model_validate(tree)
    except ValidationError as error:
        faults = [_fault_line(detail) for detail in error.errors()]
    drawn = _get(tree, "data", "source") == "pocket"
    if not drawn and isinstance(count := _get(tree, "evaluate", "in_distribution"), int) and count > 0:
        faults.append('evaluate.in_distribution: only data.source "pocket" can draw such images; set it to 0')
    if _get(tree, "inpaint", "paste") == "objects" and _get(tree, "segment", "backend") == "given":
        faults.append(
            'inpaint.paste: "objects" looks for the new object with the segmenter, and segment.backend "given" has no '
            'masks of new images; set inpaint.paste to "region"'
        )
    return faults


def faults_message(source: str, faults: Sequence[str]) -> str:
    """One line for one fault, else a heading and a line each."""
    if len(faults) == 1:
        return f"{source}: {faults[0]}"
    return "\n  ".join([f"{source}: {len(faults)} settings are wrong", *faults])


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
    elif path.is_dir():
        raise ConfigError(f"{path} is a folder: name a preset or a YAML file, and give your images with --data {path}")
    else:
        near = difflib.get_close_matches(str(source), preset_names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"presets are {', '.join(preset_names())}"
        raise ConfigError(f"no preset and no file is called {str(source)!r}; {hint}")
    try:
        tree = _parse(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source}, line {line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(f"{source}: should hold settings as `key: value`, not a {type(tree).__name__}")
    return _without_empty(tree or {})


def _without_empty(tree: Tree) -> Tree:
    return {k: _without_empty(v) if isinstance(v, dict) else v for k, v in tree.items() if v is not None}


def _put(tree: Tree, path: Sequence[str], value: object) -> None:
    for key in path[:-1]:
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        tree = tree[key]
    if value is None:
        tree.pop(path[-1], None)
    else:
        tree[path[-1]] = value


def _get(tree: Tree, section: str, key: str) -> object:
    inner = tree.get(section)
    return inner.get(key) if isinstance(inner, dict) else None


def _fault_line(detail: ErrorDetails) -> str:
    """A pydantic error as `a.b.c: what is wrong, got X`."""
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = _near_key(path)
        return f"{path}: unknown key" + (f"; did you mean {near}?" if near else "")
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] == "tuple_type":
        text = "should be a list, written [a, b]"
    given = detail["input"]
    shown = "" if isinstance(given, dict) else f", got {given!r}"
    return f"{path}: {text}{shown}"


def _near_key(path: str) -> str | None:
    """The known key that an unknown one most likely means: a near spelling, or the same name in another section."""
    known = list(_known_keys(RunConfig, ""))
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.8)
    if near:
        return near[0]
    leaf = path.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == leaf]
    return " or ".join(same) or None


def _known_keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _known_keys(field.annotation, f"{prefix}{name}.")


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


class _Loader(yaml.SafeLoader):
    """Safe YAML in which plain scalars mean what they look like (YAML 1.2): `off` and `007` are text, `1e-3` a number.
    A key given twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(problem=f"{name} is given twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_INTEGER = r"[-+]?(?:0|[1-9][0-9]*)"
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", _INTEGER, list("-+0123456789")),
    ("float", rf"{_INTEGER}(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|[-+]?\.[0-9]+", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)
