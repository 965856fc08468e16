"""Spawrious (Lynch et al. 2023): generated photographs of four breeds of dogs in six places, six challenges.

    ROOT/spawrious224/{0,1}/{beach,desert,dirt,jungle,mountain,snow}/{bulldog,corgi,dachshund,labrador}/*.png

ROOT may be `spawrious224` itself. Challenges and sizes are those of aengusl/spawrious, `spawrious/torch.py`. In
one-to-one challenges (o2o), 97% (folder 0) and 87% (folder 1) of 3168 images of a breed are in its own place and the
others in a place that all breeds share. In many-to-many challenges (m2m), two breeds share two places, which the two
other breeds have in the test images; all images are from folder 0. `data.variant` names the challenge; it may be empty
where the folders of one challenge alone are there. Where a part of a folder is taken, these are the first images by
name (the authors' loader takes the first in the order of the disk). There are no validation images: they are drawn from
the training images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ddb.data.images import SUFFIXES
from ddb.data.sources.layout.listing import Entry, Listing, existing_folder, inner_folder
from ddb.data.sources.layout.tree import Tree, read_tree
from ddb.errors import DataError

FOLDER = "spawrious224"
CLASSES = ("bulldog", "corgi", "dachshund", "labrador")
PLACES = ("beach", "desert", "dirt", "jungle", "mountain", "snow")
IMAGES = 3168
"""Images of a breed in a place, in each of the folders 0 and 1."""
OWN_SHARES = (0.97, 0.87)
"""One-to-one challenges: share of training images in the breed's own place, in the folders 0 and 1."""
_ORDER = ("bulldog", "dachshund", "labrador", "corgi")
"""The order of breeds in the authors' table of places."""


@dataclass(frozen=True)
class Challenge:
    """`train`, `test`: places, in the order of `_ORDER`. `shared`: the place that all breeds share in training; empty
    in many-to-many challenges, where the first two breeds have the first two places each, the others the last two."""

    train: tuple[str, str, str, str]
    test: tuple[str, str, str, str]
    shared: str = ""


CHALLENGES: Mapping[str, Challenge] = {
    "o2o-easy": Challenge(("desert", "jungle", "dirt", "snow"), ("dirt", "snow", "desert", "jungle"), "beach"),
    "o2o-medium": Challenge(("mountain", "beach", "dirt", "jungle"), ("jungle", "dirt", "beach", "snow"), "desert"),
    "o2o-hard": Challenge(("jungle", "mountain", "snow", "desert"), ("mountain", "snow", "desert", "jungle"), "beach"),
    "m2m-easy": Challenge(("desert", "mountain", "dirt", "jungle"), ("dirt", "jungle", "mountain", "desert")),
    "m2m-medium": Challenge(("beach", "snow", "mountain", "desert"), ("desert", "mountain", "beach", "snow")),
    "m2m-hard": Challenge(("dirt", "jungle", "snow", "beach"), ("snow", "beach", "dirt", "jungle")),
}


@dataclass(frozen=True)
class Part:
    """The first `images` images of a breed in a place, in the folder `source` ("0" or "1")."""

    split: str
    source: str
    place: str
    breed: str
    images: int

    @property
    def folder(self) -> Path:
        return Path(self.source, self.place, self.breed)


def parts(variant: str, images: int = IMAGES) -> Iterator[Part]:
    """The parts of a challenge, a key of `CHALLENGES`, with `images` images in every folder."""
    challenge = CHALLENGES[variant]
    for split, places in (("train", challenge.train), ("test", challenge.test)):
        for number, breed in enumerate(_ORDER):
            if not challenge.shared:
                first = number // 2 * 2
                for place in places[first : first + 2]:
                    yield Part(split, "0", place, breed, images)
                continue
            for source, share in enumerate(OWN_SHARES):
                own = int(share * images) if split == "train" else images
                yield Part(split, str(source), places[number], breed, own)
                if split == "train":
                    yield Part(split, str(source), challenge.shared, breed, images - own)


def list_spawrious(root: str, variant: str = "") -> Listing:
    """The images of a challenge; `variant`: key of `CHALLENGES`, or empty where one alone can be read."""
    folder = inner_folder(existing_folder(root), FOLDER)
    tree = read_tree(folder)
    variant = variant or _only(folder, tree)
    missing = sorted({part.folder.as_posix() for part in parts(variant) if not tree.below[part.folder]})
    if missing:
        raise DataError(f"{folder}: the images of {variant} are missing in {', '.join(missing[:5])}")
    held: dict[Path, list[Path]] = {}
    for path in tree.images:
        if path.name.lower().endswith(SUFFIXES):
            held.setdefault(path.parent, []).append(path)
    entries = [
        Entry(path.as_posix(), part.breed, part.place, part.split)
        for part in parts(variant)
        for path in held.get(part.folder, [])[: part.images]
    ]
    places = tuple(name for name in PLACES if name in {entry.attribute for entry in entries})
    note = f"the images are those of Spawrious {variant} (data.variant)"
    benchmark = f"spawrious-{variant}"
    return Listing(folder, str(folder), entries, list(tree.faults), CLASSES, places, notes=(note,), benchmark=benchmark)


def _only(folder: Path, tree: Tree) -> str:
    """The one challenge whose folders are there."""
    there = [name for name in CHALLENGES if all(tree.below[part.folder] for part in parts(name))]
    if len(there) == 1:
        return there[0]
    if there:
        raise DataError(f"{folder} holds the images of {', '.join(there)}: name one (--set data.variant={there[0]})")
    raise DataError(
        f"{folder} is no Spawrious folder: there should be folders such as 0/beach/bulldog, with all places and breeds "
        "of a challenge"
    )
