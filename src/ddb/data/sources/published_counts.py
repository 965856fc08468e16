"""Group counts of the published data sets, to check at load that a copy has their encoding and their splits.

Waterbirds: kohpangwei/group_DRO (the tarball `waterbird_complete95_forest2water2`), repeated in p-lambda/wilds
`waterbirds_dataset.py`. CelebA: its lists `list_attr_celeba` and `list_eval_partition` for Blond_Hair and Male.
MetaShift indoor/outdoor: Weixin-Liang/MetaShift `subpopulation_shift_cat_dog_indoor_outdoor.py` with NUM_MINORITY_IMG
100 (144 of each group held out; 750 and 100 of each class in training). MetaShift as DISC uses it (dogs with bench and
bike): counts of the DISC paper's appendix, its validation images (34 and 47) counted with the test images that they
are drawn from. UrbanCars: facebookresearch/Whac-A-Mole `gen_urbancars.py` (4000 training, 500 validation and 500 test
images of each class; shares 0.95 and 0.5; each group's size rounded down). Spawrious: aengusl/spawrious
`spawrious/torch.py` (`spawrious.parts`). ImageNet-9: arXiv 2006.09994, section 2 (5045 training and 450 test images of
each class).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ddb.data.sources import imagenet9, spawrious
from ddb.data.sources.layout.listing import Entry
from ddb.data.sources.urbancars import attribute_name
from ddb.records import SPLITS

Cell = tuple[str, str]
"""(class, attribute) by name."""


@dataclass(frozen=True)
class Published:
    """`counts`: split -> images of each group, in the order of the paper's group numbers."""

    name: str
    counts: Mapping[str, Mapping[Cell, int]]


def _grid(classes: Cell, attributes: Cell, **counts: tuple[int, int, int, int]) -> dict[str, dict[Cell, int]]:
    """Groups (0, 0), (0, 1), (1, 0), (1, 1) of every split."""
    cells = [(label, attribute) for label in classes for attribute in attributes]
    return {split: dict(zip(cells, numbers, strict=True)) for split, numbers in counts.items()}


def _urbancars() -> dict[str, dict[Cell, int]]:
    """Groups by the number of shortcuts, 0 to 2, that do not fit the class."""
    sides = ("urban", "country")
    groups = [(label, place, thing) for label in sides for place in sides for thing in sides]
    sizes = {"train": (3610, 190, 10), "val": (125, 125, 125), "test": (125, 125, 125)}
    return {
        split: {
            (label, attribute_name(place, thing)): numbers[(place != label) + (thing != label)]
            for label, place, thing in groups
        }
        for split, numbers in sizes.items()
    }


def _spawrious(variant: str) -> dict[str, dict[Cell, int]]:
    counts: dict[str, dict[Cell, int]] = {"train": {}, "test": {}}
    for part in spawrious.parts(variant):
        cell = part.breed, part.place
        counts[part.split][cell] = counts[part.split].get(cell, 0) + part.images
    return counts


PUBLISHED = {
    "waterbirds": Published(
        "Waterbirds",
        _grid(
            ("landbird", "waterbird"),
            ("land", "water"),
            train=(3498, 184, 56, 1057),
            val=(467, 466, 133, 133),
            test=(2255, 2255, 642, 642),
        ),
    ),
    "celeba": Published(
        "CelebA (blond hair, male)",
        _grid(
            ("not blond", "blond"),
            ("female", "male"),
            train=(71629, 66874, 22880, 1387),
            val=(8535, 8276, 2874, 182),
            test=(9767, 7535, 2480, 180),
        ),
    ),
    "metashift-indoor-outdoor": Published(
        "MetaShift (cats and dogs, indoor and outdoor)",
        _grid(("cat", "dog"), ("indoor", "outdoor"), train=(750, 100, 100, 750), test=(144, 144, 144, 144)),
    ),
    "metashift-bench-bike": Published(
        "MetaShift (cats and dogs, dogs with bench and bike)",
        {
            "train": {("cat", "sofa"): 231, ("cat", "bed"): 380, ("dog", "bench"): 145, ("dog", "bike"): 367},
            "test": {("cat", "shelf"): 235, ("dog", "shelf"): 306},
        },
    ),
    "urbancars": Published("UrbanCars", _urbancars()),
    **{f"spawrious-{name}": Published(f"Spawrious {name}", _spawrious(name)) for name in spawrious.CHALLENGES},
    "imagenet9": Published(
        "ImageNet-9",
        {
            "train": {(name, "original"): 5045 for name in imagenet9.CLASSES},
            "test": {(name, variation): 450 for name in imagenet9.CLASSES for variation in imagenet9.SHOWN},
        },
    ),
}


def compare(entries: Iterable[Entry], benchmark: str) -> tuple[str, ...]:
    """One line that compares a listing's group counts with the published ones; empty where none are known."""
    if benchmark not in PUBLISHED:
        return ()
    published = PUBLISHED[benchmark]
    cells = Counter((entry.split, entry.label, entry.attribute) for entry in entries)
    found = {
        split: {cell: cells[(split, *cell)] for cell in counts}
        | {(label, str(a)): n for (s, label, a), n in cells.items() if s == split and (label, a) not in counts}
        for split, counts in published.counts.items()
    }
    others = sum(n for (split, _, _), n in cells.items() if split not in published.counts)
    if found == published.counts and not others:
        return (f"group counts equal the published ones of {published.name}",)
    wrong = [split for split in SPLITS if split in found and found[split] != published.counts[split]]
    told = [f"{split} {_numbers(found[split])} instead of {_numbers(published.counts[split])}" for split in wrong]
    if others:
        told.append(f"{others} images in splits that it does not have")
    message = f"warning: group counts differ from the published ones of {published.name}: {'; '.join(told)}"
    if wrong and all(sorted(found[s].values()) == sorted(published.counts[s].values()) for s in published.counts):
        message += ". The same numbers in another order: are the codes of label or attribute exchanged?"
    return (message,)


def _numbers(counts: Mapping[Cell, int]) -> str:
    return "/".join(map(str, counts.values()))
