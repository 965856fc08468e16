"""UrbanCars (Li et al., A Whac-A-Mole Dilemma, CVPR 2023): cars with two shortcuts, background and co-occurring object.

    ROOT/bg-0.95_co_occur_obj-0.95/train/obj-urban_bg-country_co_occur_obj-urban/000.jpg
    ROOT/bg-0.5_co_occur_obj-0.5/{val,test}/...
    000_mask.png, 000_co_occur_obj_mask.png beside each image: the car and the co-occurring object

ROOT may be the folder above `urbancars` too. Layout, names and counts are those of facebookresearch/Whac-A-Mole,
`create_datasets/urbancars/gen_urbancars.py` (which writes them) and `dataset/urbancars.py` (which reads them). The
label is the car (urban 0, country 1). The attribute is background and object together (their `group_label="both"`), so
that there are eight groups; `data.attribute` takes one of both. Folders with other names of classes, backgrounds and
objects are read alike: the pocket world urban has this layout. Masks beside the images serve as given masks
(`segment.backend: given`, `segment.masks: ROOT`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from ddb.data.images import SUFFIXES
from ddb.data.sources.layout.listing import Entry, Listing, existing_folder, inner_folder
from ddb.data.sources.layout.split_names import split_named
from ddb.data.sources.layout.tree import read_tree
from ddb.data.table import Quarantined
from ddb.errors import DataError

FOLDER = "urbancars"
SHARES = re.compile(r"bg-(?P<background>[\d.]+)_co_occur_obj-(?P<thing>[\d.]+)")
GROUP = re.compile(r"obj-(?P<label>.+)_bg-(?P<background>.+)_co_occur_obj-(?P<thing>.+)")
PUBLISHED_ORDER = ("urban", "country")
_MASK = "_mask.png"
_EXAMPLE = "bg-0.95_co_occur_obj-0.95/train/obj-urban_bg-country_co_occur_obj-urban"


def list_urbancars(root: str, attribute: str = "") -> Listing:
    """Every image but the masks. `attribute`: "background" or "object"; empty: both."""
    folder = inner_folder(existing_folder(root), FOLDER)
    tree = read_tree(folder)
    groups: list[tuple[Path, str, re.Match[str]]] = []
    stray: list[Quarantined] = []
    for path in tree.images:
        if path.parts[0] == "masks" or path.name.endswith(_MASK):
            continue
        split = split_named(path.parts[1]) if len(path.parts) == 4 else None
        match = GROUP.fullmatch(path.parent.name)
        if split is None or match is None or not SHARES.fullmatch(path.parts[0]):
            stray.append(Quarantined(path.as_posix(), None, f"lies in no folder such as {_EXAMPLE}"))
        elif not path.name.lower().endswith(SUFFIXES):
            stray.append(Quarantined(path.as_posix(), None, "not a JPEG, PNG or WebP image: convert it"))
        else:
            groups.append((path, split, match))
    if not groups:
        raise DataError(f"{folder} is no UrbanCars folder: there should be folders such as {_EXAMPLE}")
    faults = [*tree.faults, *_twice(groups)]
    names = {part: _ordered(match[part] for _, _, match in groups) for part in ("label", "background", "thing")}
    entries = [
        Entry(path.as_posix(), match["label"], attribute_name(match["background"], match["thing"], attribute), split)
        for path, split, match in groups
    ]
    pairs = product(names["background"], names["thing"])
    attributes = tuple(dict.fromkeys(attribute_name(*pair, attribute) for pair in pairs))
    published = set(names.values()) == {PUBLISHED_ORDER} and not attribute
    return Listing(
        folder,
        str(folder),
        entries,
        faults,
        names["label"],
        attributes,
        tuple(stray),
        benchmark="urbancars" if published else "",
    )


def attribute_name(background: str, thing: str, wanted: str = "") -> str:
    """The attribute in words: of the background, of the object, or (`wanted` empty) of both."""
    words = {"background": f"{background} background", "object": f"{thing} object"}
    return words[wanted] if wanted else " and ".join(words.values())


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: urban and country in their published order, others sorted."""
    found = set(names)
    return PUBLISHED_ORDER if found == set(PUBLISHED_ORDER) else tuple(sorted(found))


def _twice(groups: Iterable[tuple[Path, str, re.Match[str]]]) -> list[str]:
    """A fault for each split that several folders of shares hold: they are different data sets."""
    homes: dict[str, set[str]] = {}
    for path, split, _ in groups:
        homes.setdefault(split, set()).add(path.parts[0])
    return [
        f"{split} images lie in {' and in '.join(sorted(folders))}, which are data sets of their own: leave one there"
        for split, folders in homes.items()
        if len(folders) > 1
    ]
