"""MetaShift's cats and dogs (Liang and Zou 2022) in their published and derived layouts.

Indoor and outdoor, mixed (`MetaShift-subpopulation-shift`): the groups are in a file beside the images.
    ROOT/{train,val_out_of_domain}/{cat,dog}/2370806.jpg
    ROOT/imageID_to_group.pkl | .json      {"2370806": ["cat(indoor)"]}, or {"cat(indoor)": ["2370806", ...]}

Contexts in folders: indoor and outdoor unmixed (`MetaShift-Cat-Dog-indoor-outdoor`, SubpopBench's tarball), and the
domain generalisation set of LISA, DISC and DaC (`MetaDatasetCatDog`: sofa, bed, bench, bike, ...; shelf in test).
    ROOT/{train,test}/{cat,dog}/{cat(sofa),...}/2370806.jpg

The label is the animal (cat 0, dog 1), the attribute the context. None of them has a validation split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ddb.data.reading.json_text import parse_json
from ddb.data.sources.folder import list_folder
from ddb.data.sources.layout.listing import Entry, Listing, existing_folder
from ddb.data.sources.restricted_unpickler import read_plain_pickle
from ddb.data.table import Quarantined
from ddb.errors import DataError
from ddb.records import SPLITS

GROUP_FILES = ("imageID_to_group.pkl", "imageID_to_group.json")
DOGS = {  # LISA's --dog_group 1 to 4, by growing distance between training and test contexts
    "cabinet-bed": ("cabinet", "bed"),
    "bag-box": ("bag", "box"),
    "bench-bike": ("bench", "bike"),
    "boat-surfboard": ("boat", "surfboard"),
}
USUAL_DOGS = "bench-bike"
POOLED = "pooled"
_FURTHER_SPLIT = {"val_out_of_domain": "test"}  # the held out images: no training image is like them
_PLACES = {"indoor", "outdoor"}
_CONTEXT = re.compile(r"(?P<label>.+)\((?P<context>.+)\)")


def list_metashift(root: str, variant: str = "") -> Listing:
    """Every image with its animal and context. `variant`: a key of `DOGS`, the contexts of dogs to train on; "pooled"
    ignores the folders' splits, so that splits are drawn by seed, as in SubpopBench."""
    folder = existing_folder(root)
    groups = next((folder / name for name in GROUP_FILES if (folder / name).is_file()), None)
    listing = list_folder(root, _FURTHER_SPLIT)
    listing = replace(listing, entries=sorted(listing.entries, key=lambda entry: SPLITS.index(entry.split or "train")))
    if groups is not None:
        if variant:
            raise DataError(f"data.variant {variant!r} is for contexts in folders; {groups} names the groups here")
        return _from_group_file(listing, groups)
    return _from_folders(listing, folder, variant)


def _from_group_file(listing: Listing, path: Path) -> Listing:
    contexts, faults = _contexts(path)
    unknown: list[Quarantined] = []
    entries: list[Entry] = []
    for entry in listing.entries:
        context = contexts.get((PurePosixPath(entry.image).stem, entry.label))
        if context is None:
            unknown.append(Quarantined(entry.image, None, f"{path.name} names no {entry.label} context for it"))
        else:
            entries.append(Entry(entry.image, entry.label, context, entry.split))
    attributes = _by_first(entry.attribute for entry in entries)
    return replace(
        listing,
        entries=entries,
        faults=listing.faults + faults,
        attributes=attributes,
        quarantined=(*listing.quarantined, *unknown),
        benchmark="metashift-indoor-outdoor" if set(attributes) <= _PLACES else "",
    )


def _contexts(path: Path) -> tuple[dict[tuple[str, str], str], list[str]]:
    """(image id, animal) -> context. The file maps ids to group names, or group names to ids."""
    held = read_plain_pickle(path) if path.suffix == ".pkl" else _read_json(path)
    if not isinstance(held, dict) or not held:
        raise DataError(f"{path} should hold a dict of image ids to groups such as 'cat(indoor)'")
    found: dict[tuple[str, str], str] = {}
    faults = []
    for key, values in held.items():
        listed = values if isinstance(values, list | tuple | set | frozenset) else [values]
        for value in sorted(map(str, listed)):
            group, image = (str(key), value) if _CONTEXT.fullmatch(str(key)) else (value, str(key))
            match = _CONTEXT.fullmatch(group)
            if match is None:
                faults.append(f"{path.name}: {key!r}: group {group!r} is not written as cat(indoor)")
            else:
                found[PurePosixPath(image).stem, match["label"]] = match["context"]
    return found, faults


def _from_folders(listing: Listing, folder: Path, variant: str) -> Listing:
    entries, stray = [], []
    for entry in listing.entries:
        name = PurePosixPath(entry.image).parent.name
        match = _CONTEXT.fullmatch(name)
        if match is None or match["label"] != entry.label:
            stray.append(Quarantined(entry.image, None, f"lies in no folder such as {entry.label}(sofa)"))
        else:
            entries.append(Entry(entry.image, entry.label, match["context"], entry.split))
    if not entries:
        raise DataError(
            f"{folder} is no MetaShift folder: there should be {' or '.join(GROUP_FILES)}, or folders such as "
            "train/cat/cat(sofa)"
        )
    entries, notes = _chosen(entries, variant, folder)
    contexts = _by_first(entry.attribute for entry in entries)
    training = {entry.attribute for entry in entries if entry.split == "train" and entry.label == "dog"}
    return replace(
        listing,
        entries=entries,
        attributes=contexts,
        quarantined=(*listing.quarantined, *stray),
        notes=(*listing.notes, *notes),
        benchmark=f"metashift-{USUAL_DOGS}" if training == set(DOGS[USUAL_DOGS]) else "",
    )


def _chosen(entries: list[Entry], variant: str, folder: Path) -> tuple[list[Entry], list[str]]:
    """The entries that the variant keeps, and notes on them."""
    if variant == POOLED:
        return [replace(e, split=None) for e in entries], ["the folders' splits are pooled (data.variant)"]
    present = {e.attribute for e in entries if e.split == "train" and e.label == "dog"}
    if variant and not set(DOGS[variant]) <= present:
        raise DataError(f"data.variant {variant!r}: {folder}/train/dog holds {', '.join(sorted(map(str, present)))}")
    notes = []
    if not variant and set(DOGS[USUAL_DOGS]) < present:
        variant = USUAL_DOGS
        notes = [f"training dogs are those with {' and '.join(DOGS[variant])}, as DISC takes them (data.variant)"]
    if variant:
        wanted = DOGS[variant]
        entries = [e for e in entries if e.split != "train" or e.label != "dog" or e.attribute in wanted]
    return entries, notes


def _by_first(names: Iterable[str | None]) -> tuple[str, ...]:
    """Each name once. Indoor and outdoor in this order, others as they come: training contexts before test ones."""
    unique = tuple(dict.fromkeys(name for name in names if name is not None))
    return tuple(sorted(unique)) if set(unique) <= _PLACES else unique


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
