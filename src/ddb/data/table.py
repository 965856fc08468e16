"""`Dataset`: the samples of any source, with two or more classes, any number of attributes and three splits."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb.records import SAMPLES, SPLITS, Group

NO_ATTRIBUTE = -1
"""Code of an unknown attribute in group keys."""


@dataclass(frozen=True)
class Quarantined:
    """A file that cannot be used: `path` relative to the root, `row` the line of the metadata file that names it
    (1-based, header included; None where there is no such file), `reason` for people."""

    path: str
    row: int | None
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Samples that were checked: every file opens, every class has training, validation and test images.

    `samples` has the schema `SAMPLES`, ordered train, val, test; `id` is the image's path below `root`.
    `fingerprint` covers the files' content (SHA-256), the table and the names; not `phrase`, which is a setting.
    `content` covers the images' paths and content alone: it names what is derived from pixels (empty: use
    `fingerprint`). `hashes`: see `sha256`. `notes` are for people: splits made here, paths that were looked up, how the
    group counts compare with the published ones. `decode_once`: whether decoded pixels are kept on disk.
    """

    root: Path
    samples: pa.Table
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    phrase: str
    quarantined: tuple[Quarantined, ...]
    fingerprint: str
    content: str = ""
    notes: tuple[str, ...] = ()
    decode_once: bool = True
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    discovered: tuple[str, ...] = ()
    """Names of the groups that `ddb discover` found; the column `discovered` refers to them (`data.groups`)."""

    def sha256(self, name: str) -> str:
        """SHA-256 (hex) of the bytes of the image file of the sample with id `name`, as they were when the data set was
        read. KeyError if there is no such sample."""
        return self.hashes[name]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of every sample id."""
        return {name: row for row, name in enumerate(self.samples["id"].to_pylist())}

    def split(self, name: str) -> pa.Table:
        """The samples of "train", "val" or "test", in order."""
        return self.samples.filter(pc.equal(self.samples["split"], name))

    def identity(self, splits: Sequence[str]) -> str:
        """SHA-256 (hex) of the content of these splits: ids, labels, attributes and content of files, and all names.
        Results computed from these splits alone stay valid when another split changes. Discovered groups have no part
        in it: stages that read them add them to what their rows depend on."""
        rows = self.samples.filter(pc.is_in(self.samples["split"], pa.array(splits))).to_pylist()
        facts = [[row["id"], row["label"], row["attribute"], row["split"], self.hashes.get(row["id"])] for row in rows]
        content = "" if self.hashes else self.content or self.fingerprint
        text = json.dumps([content, list(self.classes), list(self.attributes), facts])
        return hashlib.sha256(text.encode()).hexdigest()

    def without_attributes(self) -> Dataset:
        """The same samples with every attribute and discovered group null, for stages that must not use groups. The
        fingerprint does not depend on them either. A stage that uses discovered groups is given them apart."""
        samples, nulls = self.samples, pa.nulls(self.samples.num_rows, pa.int32())
        for name in ("attribute", "discovered"):
            samples = samples.set_column(SAMPLES.get_field_index(name), SAMPLES.field(name), nulls)
        content = self.content or self.fingerprint
        blind = fingerprint(content, samples, self.classes, ())
        return replace(self, samples=samples, attributes=(), discovered=(), fingerprint=blind, content=content)

    def with_discovered_as_attributes(self) -> Dataset:
        """The same samples with the discovered groups in the place of the attributes, for whoever uses the one or the
        other. Without discovered groups no attribute is known."""
        column = SAMPLES.get_field_index("attribute")
        samples = self.samples.set_column(column, SAMPLES.field("attribute"), self.samples["discovered"])
        mark = fingerprint(self.content or self.fingerprint, samples, self.classes, self.discovered, self.discovered)
        return replace(self, samples=samples, attributes=self.discovered, fingerprint=mark)

    def counts(self) -> dict[str, dict[Group, int]]:
        """Samples of each split and group (label, attribute); an unknown attribute is `NO_ATTRIBUTE`."""
        cells = Counter(
            (row["split"], Group(row["label"], NO_ATTRIBUTE if row["attribute"] is None else row["attribute"]))
            for row in self.samples.select(["split", "label", "attribute"]).to_pylist()
        )
        return {split: {g: cells[s, g] for s, g in sorted(cells) if s == split} for split in SPLITS}


def codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A column of the samples that may hold nulls (`attribute`, `discovered`) as int64, `NO_ATTRIBUTE` for null."""
    found: npt.NDArray[np.int64] = column.fill_null(NO_ATTRIBUTE).to_numpy().astype(np.int64)
    return found


def fingerprint(
    content: str,
    samples: pa.Table,
    classes: Sequence[str],
    attributes: Sequence[str],
    discovered: Sequence[str] = (),
) -> str:
    """SHA-256 (hex) of a data set: `content` stands for its files. Without discovered groups it is what it was before
    data sets could have them."""
    names = [list(classes), list(attributes), *([list(discovered)] if discovered else [])]
    digest = hashlib.sha256(json.dumps([content, *names]).encode())
    for name in SAMPLES.names:
        if name == "discovered" and not discovered:
            continue
        digest.update(json.dumps([name, samples[name].to_pylist()]).encode())
    return digest.hexdigest()
