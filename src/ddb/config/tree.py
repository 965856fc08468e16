"""Settings as nested dicts: reading them from YAML, and setting a value at a dotted path."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Any

import yaml

Tree = dict[str, Any]


def put(tree: Tree, path: Sequence[str], value: object) -> None:
    """Set the value at `path`, key by key; None removes the key, so that the default applies."""
    for key in path[:-1]:
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        tree = tree[key]
    if value is None:
        tree.pop(path[-1], None)
    else:
        tree[path[-1]] = without_empty(value) if isinstance(value, dict) else value


def at(tree: Tree, section: str, key: str) -> object:
    """The value of a section's key; None: there is none."""
    inner = tree.get(section)
    return inner.get(key) if isinstance(inner, dict) else None


def without_empty(tree: Tree) -> Tree:
    """The tree without keys that have an empty value, and a copy of its dicts."""
    return {k: without_empty(v) if isinstance(v, dict) else v for k, v in tree.items() if v is not None}


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2: `off` and `007` are text, `1e-3` is a number. A duplicate key is an
    error."""

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


def parse(text: str) -> Any:
    """The value of a YAML text, or yaml.YAMLError."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # a number with thousands of digits
        raise yaml.YAMLError(str(error)) from None
