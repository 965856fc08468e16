"""Outputs of a trained classifier matched by name with the classes of a data set."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from shlex import quote

from ddb.errors import ModelError

SHOWN = 6
"""Number of classes that a message lists."""


def matched(
    names: Sequence[str] | None, count: int, classes: Sequence[str] | None, class_map: Mapping[str, str]
) -> tuple[list[int], tuple[str, ...]]:
    """The numbers of the outputs that are wanted, in order, and their names.

    `names`: the model's names of its `count` outputs; None: it has none, and an output is called by its number.
    `class_map`: such a name -> the name of a class. `classes`: the names that are wanted, in order; None: all outputs
    in their own order.

    Nothing is assumed of the order of outputs without names: that they follow the sorted names of the classes is only
    usual, and a wrong order would give a model that is as sure as it is wrong. Raises ModelError: outputs without names
    and without a map, a map of outputs that are not there or of two to one class, classes that no output has.
    """
    own = list(names) if names is not None else [str(number) for number in range(count)]
    unknown = [name for name in class_map if name not in own]
    if unknown:
        raise ModelError(f"erm.class_map: the model has no output {unknown[0]!r}; it has {_listed(own)}.")
    if names is None and not class_map:
        raise ModelError(_unnamed(count, classes))
    called = [class_map.get(name, name) for name in own]
    if classes is None:
        return list(range(count)), tuple(called)
    missing = [name for name in classes if name not in called]
    if missing:
        raise ModelError(_missing(missing, own, classes))
    double = [name for name in classes if called.count(name) > 1]
    if double:
        raise ModelError(f"{double[0]!r} is the name of {called.count(double[0])} of the model's outputs, not of one.")
    return [called.index(name) for name in classes], tuple(classes)


def _unnamed(count: int, classes: Sequence[str] | None) -> str:
    example = dict(zip(map(str, range(count)), classes or ("FIRST", "SECOND"), strict=False))
    return (
        f"the weights do not say what their {count} outputs mean. Say it, in the order in which the model was trained: "
        f"{_setting(example)}, or `label_names` in a config.json beside the weights."
    )


def _missing(missing: Sequence[str], own: Sequence[str], classes: Sequence[str]) -> str:
    folded = {_folded(name): name for name in own}
    near = {name: folded.get(_folded(name)) or _nearest(name, own) for name in missing}
    found = {there: name for name, there in near.items() if there is not None}
    example = found or {"ITS NAME": missing[0]}
    return (
        f"the model has no output for {_listed(missing)}. Its outputs: {_listed(own)}; the data's classes: "
        f"{_listed(classes)}. Where names differ, map them: {_setting(example)}."
    )


def _setting(example: Mapping[str, str]) -> str:
    return "--set " + quote(f"erm.class_map={json.dumps(example, ensure_ascii=False)}")


def _folded(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _nearest(name: str, own: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, own, n=1, cutoff=0.7)), None)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
