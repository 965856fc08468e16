"""groups.csv: the discovered group of each image, and whose images they are.

    # groups found by ddb discover; data CONTENT
    image,name,probability
    train/dog/1.png,sofa,0.998

CONTENT is `Dataset.content`: the groups belong to these images alone. A file without the first line (one that was
written by hand) is taken by the paths in it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from ddb.data.table import Dataset, fingerprint
from ddb.errors import DataError
from ddb.records import SAMPLES

MARK = "# groups found by ddb discover; data "
COLUMNS = ("image", "name", "probability")
MOST = 64
"""Most names of groups; more are no groups, but probably another column."""


class Assigned(NamedTuple):
    """A row of groups.csv: an image's path, the name of its group, and the probability in [0, 1] that it is its own."""

    image: str
    name: str
    probability: float


def groups_csv(dataset: Dataset, rows: Iterable[Assigned]) -> str:
    """The text of groups.csv."""
    buffer = io.StringIO()
    buffer.write(f"{MARK}{dataset.content}\n")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((row.image, row.name, f"{row.probability:.4f}") for row in rows)
    return buffer.getvalue()


def with_groups(dataset: Dataset, file: str) -> Dataset:
    """The data set with the column `discovered` from a groups.csv. DataError where the file is unreadable, was made for
    other images, or names an image that is not there."""
    path = Path(file).expanduser()
    names = _read(path, dataset)
    known = tuple(sorted(set(names.values())))
    if len(known) > MOST:
        raise DataError(f"data.groups: {path} names {len(known)} groups; the column `name` should hold a few.")
    code = {name: number for number, name in enumerate(known)}
    column = pa.array([code.get(names.get(image, "")) for image in dataset.samples["image"].to_pylist()], pa.int32())
    place = SAMPLES.get_field_index("discovered")
    samples = dataset.samples.set_column(place, SAMPLES.field("discovered"), column)
    mark = fingerprint(dataset.content, samples, dataset.classes, dataset.attributes, known)
    missing = column.null_count
    notes = (f"{missing:,} of {len(samples):,} images have no discovered group",) if missing else ()
    return replace(dataset, samples=samples, discovered=known, fingerprint=mark, notes=(*dataset.notes, *notes))


def _read(path: Path, dataset: Dataset) -> dict[str, str]:
    """Image -> name of its group."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"data.groups: {path} is no text file in UTF-8; `ddb discover` writes groups.csv.") from None
    except OSError as error:
        raise DataError(f"data.groups: {path} cannot be read ({error.strerror}).") from None
    if text.startswith("#"):
        first, _, text = text.partition("\n")
        if first.startswith(MARK) and first.removeprefix(MARK).strip() != dataset.content:
            raise DataError(
                f"data.groups: {path} was made for other images than those in {dataset.root}. Run `ddb discover` on "
                "this data, and name the groups.csv that it writes."
            )
    names: dict[str, str] = {}
    rows = csv.DictReader(io.StringIO(text))
    if not {"image", "name"} <= set(rows.fieldnames or ()):
        raise DataError(f"data.groups: {path} needs the columns image and name, as `ddb discover` writes them.")
    known = set(dataset.samples["image"].to_pylist())
    for line, row in enumerate(rows, start=2):
        image, name = row["image"], (row["name"] or "").strip()
        if image not in known:
            raise DataError(f"data.groups: {path}, row {line}: there is no image {image!r} in {dataset.root}.")
        if not name:
            raise DataError(f"data.groups: {path}, row {line}: image {image!r} has an empty name; leave the row out.")
        names[image] = name
    if not names:
        raise DataError(f"data.groups: {path} holds no row.")
    return names
