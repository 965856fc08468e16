"""Prefixes that training programs put before the names of a state dict's tensors."""

from __future__ import annotations

from collections.abc import Collection

PREFIXES = ("module.", "_orig_mod.", "model.", "timm_model.")
"""Of DistributedDataParallel, torch.compile, Lightning and similar programs, and transformers' wrapper of timm."""


def without_prefixes(names: Collection[str], wanted: Collection[str]) -> tuple[dict[str, str], str]:
    """Name without prefixes -> name in the file, and the prefixes that were taken off, outermost first.

    A prefix is taken off while the names do not hold all of `wanted` and most of them begin with it; names that do not
    begin with it are not the model's, and are dropped. Names of an architecture that has such a prefix itself stay.
    """
    found, taken = {name: name for name in names}, ""
    while not set(wanted) <= found.keys():
        prefix = next((one for one in PREFIXES if _most(found, one)), None)
        if prefix is None:
            return found, taken
        found = {name.removeprefix(prefix): own for name, own in found.items() if name.startswith(prefix)}
        taken += prefix
    return found, taken


def _most(names: Collection[str], prefix: str) -> bool:
    return 2 * sum(name.startswith(prefix) for name in names) > len(names)
