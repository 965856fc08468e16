"""Choosing another backend than a preset's: keys that the preset sets for its own backend are dropped."""

from __future__ import annotations

from ddb.config.run import BACKENDS, RunConfig
from ddb.config.section import Section
from ddb.config.tree import Tree, at


def drop_unfit(preset: str, said: Tree, tree: Tree, own: Tree) -> list[str]:
    """Remove from `tree`, in place, keys of a preset that do not apply to the chosen backend.

    `said`: the preset; `own`: keys that the user gave, which are kept. A key does not apply where the chosen backend
    lacks it, or where the defaults of the two backends differ (such as `weights` of CLIPSeg and of SAM 3). Returns a
    line for each section from which keys were removed.
    """
    notes = []
    for section, classes in BACKENDS.items():
        before, after, values = _backend(said, section), _backend(tree, section), tree.get(section)
        if before == after or after not in classes or not isinstance(values, dict):
            continue
        given = own.get(section)
        unfit = [
            key
            for key in values
            if key != "backend" and key not in (given or ()) and not _alike(classes[before], classes[after], key)
        ]
        for key in unfit:
            del values[key]
        if unfit:
            notes.append(
                f"{section}.backend={after}: left out what preset {preset} sets for {before}: {', '.join(unfit)}"
            )
    return notes


def _backend(tree: Tree, section: str) -> str:
    """The backend that a section names, or the first one. An unknown name is its own."""
    return str(at(tree, section, "backend") or RunConfig.model_fields[section].default.backend)


def _alike(one: type[Section], other: type[Section], key: str) -> bool:
    both = [kind.model_fields[key].default for kind in (one, other) if key in kind.model_fields]
    return len(both) == 2 and both[0] == both[1]
