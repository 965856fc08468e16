"""From settings to a checked `Dataset`: list the images, open every file, complete the splits, report every fault."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

import pyarrow as pa

from ddb.config import DataConfig
from ddb.config.data import VARIANTS
from ddb.data.discovered import with_groups
from ddb.data.images import resolve_inside
from ddb.data.inspection.summary import set_aside
from ddb.data.reading.files import Checked, check_files
from ddb.data.sources.celeba import list_celeba
from ddb.data.sources.folder import list_folder
from ddb.data.sources.huggingface import list_huggingface
from ddb.data.sources.imagenet9 import list_imagenet9
from ddb.data.sources.layout.listing import Entry, Listing, data_error, named
from ddb.data.sources.layout.recognise import recognise
from ddb.data.sources.layout.splits import make_splits
from ddb.data.sources.metadata import list_metadata
from ddb.data.sources.metashift import list_metashift
from ddb.data.sources.nico import list_nico
from ddb.data.sources.pocket import list_in_distribution, list_pocket
from ddb.data.sources.published_counts import compare
from ddb.data.sources.spawrious import list_spawrious
from ddb.data.sources.table import list_table
from ddb.data.sources.urbancars import list_urbancars
from ddb.data.sources.waterbirds import list_waterbirds
from ddb.data.table import Dataset, Quarantined, fingerprint
from ddb.errors import DataError
from ddb.pocket.datasets import SCENES
from ddb.records import SAMPLES, SPLITS

LEAST = {"train": 2, "val": 1, "test": 1}
"""Usable images that every class needs in each split."""
_WITH_COLUMNS = {
    "celeba": list_celeba,
    "wilds": list_metadata,
    "subpopbench": list_metadata,
    "table": list_table,
}
_WITH_VARIANTS = {"metashift": list_metashift, "spawrious": list_spawrious, "imagenet9": list_imagenet9}
_PLAIN = {"waterbirds": list_waterbirds, "nico": list_nico}


def load_dataset(config: DataConfig, cache: Path | None = None) -> Dataset:
    """Read and check a data set. `cache`: folder (of the run) for drawn images and the results of file checks.

    Files that cannot be used are quarantined. DataError lists all faults of the data set: fewer than two classes, a
    class with too few usable images, unknown labels or splits, duplicate images, paths outside the root, groups
    (`data.groups`) of other images.
    """
    dataset = _assemble(read_listing(config, cache), config, LEAST, cache)
    return with_groups(dataset, config.groups) if config.groups else dataset


def read_listing(config: DataConfig, cache: Path | None = None) -> Listing:
    """The images that a source lists, before any is opened. DataError where there is nothing to read. Group counts are
    not compared with the published ones (`Listing.benchmark`) where scenes.json shows that ddb drew the images."""
    listing = _read(config, cache)
    return replace(listing, benchmark="") if (listing.root / SCENES).is_file() else listing


def _read(config: DataConfig, cache: Path | None) -> Listing:
    if config.source == "pocket":
        return list_pocket(config.pocket, cache, config.attribute)
    source: str = config.source
    root, columns = config.root, (config.target, config.attribute)
    if source == "auto":
        found = recognise(named(root))
        source, root = found.source, str(found.root)
    if config.variant and config.variant not in VARIANTS.get(source, ()):
        raise DataError(f"data.variant {config.variant!r}: {root} is read as {source}, which has no such variant")
    if source in _WITH_VARIANTS:
        return _WITH_VARIANTS[source](root, config.variant)
    if source in _PLAIN:
        return _PLAIN[source](root)
    if source == "urbancars":
        return list_urbancars(root, config.attribute)
    if source == "huggingface":
        return list_huggingface(root, *columns, cache)
    if source == "folder":
        return list_folder(root, chosen=config.classes)
    return _WITH_COLUMNS[source](root, *columns)


def load_in_distribution(config: DataConfig, count: int, cache: Path | None = None) -> Dataset:
    """`count` unseen pocket images with the training split's group shares, all in the split "test".

    DataError where the source is not the pocket world: only that can be drawn from again.
    """
    if config.source != "pocket":
        raise DataError("evaluate.in_distribution needs data.source: pocket; set it to 0 for other data")
    listing = replace(list_in_distribution(config.pocket, count, cache, config.attribute), benchmark="")
    return _assemble(listing, config, {"test": 1}, cache)


def _assemble(listing: Listing, config: DataConfig, least: Mapping[str, int], cache: Path | None) -> Dataset:
    faults = list(listing.faults)
    classes = _choose_classes(listing, config.classes, faults)
    chosen = [entry for entry in listing.entries if entry.label in classes]
    entries, places = resolve_entries(listing.root, chosen, faults)
    found = check_files(places.values(), config.max_megapixels, cache)
    checked = {image: found[place] for image, place in places.items()}
    usable = [entry for entry in entries if entry.image in checked and not checked[entry.image].reason]
    broken = [
        Quarantined(entry.image, entry.row, checked[entry.image].reason)
        for entry in entries
        if entry.image in checked and checked[entry.image].reason
    ]
    quarantined = (*listing.quarantined, *broken)
    missing = sorted(set(least) - {entry.split for entry in usable} - {"train"})
    usable, made = _complete_splits(usable, missing, config, least)
    if few := _too_few(usable, classes, least):
        few[-1] += _what_to_do(missing, config, quarantined)
    if faults or few:
        raise data_error(listing.where, [*faults, *few], listing.notes)
    notes = (*listing.notes, *compare(listing.entries, listing.benchmark), *made)
    dataset = _table(replace(listing, notes=notes), usable, classes, config.phrase, checked)
    return replace(dataset, quarantined=quarantined, decode_once=config.decode_once)


def _complete_splits(
    entries: list[Entry], missing: Sequence[str], config: DataConfig, least: Mapping[str, int]
) -> tuple[list[Entry], list[str]]:
    """Entries with a split each, with the splits `missing` drawn here, and notes on these."""
    shares = {"val": config.val_share, "test": config.test_share}
    source = config.val_from if list(missing) == ["val"] else "train"
    entries = make_splits(entries, missing, shares, config.split_seed, least.get(source, 0), source)
    words = {"train": "training", "val": "validation", "test": "test"}
    return entries, [
        f"the data has no {words[split]} split: it is {shares[split]:.0%} of the {words[source]} images of each class, "
        f"drawn with data.split_seed {config.split_seed}"
        for split in missing
    ]


def _choose_classes(listing: Listing, wanted: tuple[str, ...], faults: list[str]) -> tuple[str, ...]:
    present = listing.classes or _by_name({entry.label for entry in listing.entries})
    wanted = tuple(_as_written(name, present) for name in wanted)
    for name in wanted:
        if name not in present and present:
            close = get_close_matches(name, present, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(present[:8])}"
            faults.append(f"data.classes: class {name!r} is unknown; {hint}")
    twice = [name for name, times in Counter(wanted).items() if times > 1]
    faults += [f"data.classes: {name!r} stands there twice" for name in twice]
    classes = wanted or tuple(present)
    if not classes and not faults:
        faults.append("there is no image with a label and a known split")
    if len(classes) == 1:
        faults.append(f"only one class ({classes[0]!r}): at least two are needed")
    return classes


def _as_written(name: str, present: Sequence[str]) -> str:
    """The only class whose name equals `name` after Unicode normalisation (macOS writes NFD); else `name` itself."""
    plain = unicodedata.normalize("NFC", name)
    alike = [other for other in present if unicodedata.normalize("NFC", other) == plain]
    return alike[0] if name not in present and len(alike) == 1 else name


def resolve_entries(root: Path, entries: Iterable[Entry], faults: list[str]) -> tuple[list[Entry], dict[str, Path]]:
    """Each image once, with its normalised path, and image -> file. Images that are listed twice or are outside the
    root are added to `faults`."""
    normal = ((entry, str(PurePosixPath(entry.image))) for entry in entries)
    once = _without_duplicates([e if e.image == path else replace(e, image=path) for e, path in normal], faults)
    return once, _resolve(root, once, faults)


def _without_duplicates(entries: list[Entry], faults: list[str]) -> list[Entry]:
    first: dict[str, Entry] = {}
    for entry in entries:
        if entry.image in first:
            faults.append(
                f"{_line(entry)}image {entry.image!r} stands there twice, before in line {first[entry.image].row}"
            )
        else:
            first[entry.image] = entry
    return list(first.values())


def _resolve(root: Path, entries: list[Entry], faults: list[str]) -> dict[str, Path]:
    places = {}
    for entry in entries:
        try:
            places[entry.image] = resolve_inside(root, entry.image)
        except DataError as error:
            faults.append(f"{_line(entry)}{error}")
    return places


def _too_few(entries: list[Entry], classes: tuple[str, ...], least: Mapping[str, int]) -> list[str]:
    counts = Counter((entry.label, entry.split) for entry in entries)
    needed = ", ".join(f"{number} {split}" for split, number in least.items())
    forms = Counter(unicodedata.normalize("NFC", name) for name in classes)
    faults = []
    for name in classes:
        if any(counts[name, split] < number for split, number in least.items()):
            have = ", ".join(f"{counts[name, split]} {split}" for split in least)
            faults.append(f"class {name!r} has too few usable images: {have}; needs {needed}")
            if forms[unicodedata.normalize("NFC", name)] > 1:
                faults[-1] += f" (another class looks the same; this one is written {name.encode('unicode_escape')!r})"
    return faults


def _what_to_do(missing: Sequence[str], config: DataConfig, quarantined: tuple[Quarantined, ...]) -> str:
    """The remedy for classes with too few images, with the files that were lost from them."""
    shares = {"val": f"data.val_share {config.val_share:g}", "test": f"data.test_share {config.test_share:g}"}
    drawn = f" or change {', '.join(shares[split] for split in missing)}" if missing else ""
    lost = f" ({'; '.join(set_aside(quarantined))})" if quarantined else ""
    return f"{lost}: add images, leave classes out (data.classes){drawn}"


def _table(
    listing: Listing,
    entries: list[Entry],
    classes: tuple[str, ...],
    phrase: str,
    checked: Mapping[str, Checked],
) -> Dataset:
    attributes = listing.attributes or _by_name({e.attribute for e in entries if e.attribute is not None})
    entries = sorted(entries, key=lambda entry: SPLITS.index(entry.split or "train"))
    rows = [
        {
            "id": entry.image,
            "image": entry.image,
            "label": classes.index(entry.label),
            "attribute": None if entry.attribute is None else attributes.index(entry.attribute),
            "split": entry.split,
        }
        for entry in entries
    ]
    samples = pa.Table.from_pylist(rows, SAMPLES)
    digests = [(entry.image, checked[entry.image].sha256) for entry in entries]
    content = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    mark = fingerprint(content, samples, classes, attributes)
    dataset = Dataset(listing.root, samples, classes, attributes, phrase, (), mark, content, listing.notes)
    return replace(dataset, hashes=dict(digests))


def _line(entry: Entry) -> str:
    return "" if entry.row is None else f"line {entry.row}: "


def _by_name(names: Iterable[str]) -> tuple[str, ...]:
    """Sorted; whole numbers by value and before words."""
    return tuple(sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))
