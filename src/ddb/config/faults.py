"""Faults of settings, one line each: the key, what is wrong, the given value."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ddb.config.run import BACKENDS, RunConfig
from ddb.config.section import sections_of
from ddb.config.tree import Tree, at

NO_SECTION = ("model_type", "model_attributes_type", "union_tag_not_found")
"""pydantic's names for a value where settings should be."""


def tree_faults(tree: Tree) -> list[str]:
    """Every fault of nested settings, one line each; none: `RunConfig.model_validate(tree)` succeeds."""
    faults = []
    try:
        RunConfig.model_validate(tree)
    except ValidationError as error:
        faults = [fault_line(detail) for detail in error.errors()]
    drawn = at(tree, "data", "source") == "pocket"
    if not drawn and isinstance(count := at(tree, "evaluate", "in_distribution"), int) and count > 0:
        faults.append('evaluate.in_distribution: only data.source "pocket" can draw such images; set it to 0')
    if at(tree, "inpaint", "paste") == "objects" and at(tree, "segment", "backend") == "given":
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


def fault_line(detail: ErrorDetails) -> str:
    """A pydantic error as `a.b.c: what is wrong, got X`."""
    keys = [str(part) for part in detail["loc"]]
    backend = keys.pop(1) if len(keys) > 1 and keys[0] in BACKENDS else None  # pydantic names the class that it chose
    path, kind, given = ".".join(keys), detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"{path}: {_unknown(keys, backend)}"
    if kind == "missing":
        return f"{path}: has no value" + (f", and backend {backend} needs one" if backend else "")
    if kind == "union_tag_invalid":
        names = list(map(repr, BACKENDS[keys[0]]))
        return f"{path}.backend: should be {', '.join(names[:-1])} or {names[-1]}, got {detail['ctx']['tag']!r}"
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind in NO_SECTION:
        text = f"should hold settings, written {path}.key=value"
    elif kind == "tuple_type":
        text = "should be a list, written [a, b]"
    shown = "" if isinstance(given, dict) else f", got {given!r}"
    return f"{path}: {text}{shown}"


def _unknown(keys: Sequence[str], backend: str | None) -> str:
    """What is wrong with a key that its section does not have."""
    path = ".".join(keys)
    if backend is not None and len(keys) == 2:
        classes = BACKENDS[keys[0]]
        having = [name for name, one in classes.items() if keys[1] in one.model_fields]
        if having:
            there = ", ".join(classes[backend].model_fields)
            return f"backend {backend} has no such key, which is for {' and '.join(having)}; it has {there}"
    near = _near_key(path, keys[0] if backend else "", backend or "")
    return "unknown key" + (f"; did you mean {near}?" if near else "")


def _near_key(path: str, section: str, backend: str) -> str | None:
    """The known key that is most similar to an unknown one: a near spelling, or the same name in another section. In
    `section` only keys of `backend` are considered."""
    unfit = {f"{section}.{key}" for one in BACKENDS.get(section, {}).values() for key in one.model_fields} - {
        f"{section}.{key}" for key in (BACKENDS[section][backend].model_fields if section else ())
    }
    known = [key for key in dict.fromkeys(_known_keys(RunConfig, "")) if key not in unfit]
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.8)
    if near:
        return near[0]
    leaf = path.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == leaf]
    return " or ".join(same) or None


def _known_keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in sections_of(field):
            yield from _known_keys(inner, f"{prefix}{name}.")
