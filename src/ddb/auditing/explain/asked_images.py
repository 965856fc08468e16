"""The images that a user names: samples of the data set, or files elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddb.data.images import Pixels, read_image
from ddb.data.table import Dataset
from ddb.errors import DataError


@dataclass(frozen=True, eq=False)
class AskedImage:
    """`sample`: its id in the data set, None for a file elsewhere; `name`: as it is shown; `pixels` uint8 HWC."""

    name: str
    sample: str | None
    pixels: Pixels


def asked_image(text: str, dataset: Dataset, max_megapixels: float) -> AskedImage:
    """An image by its path, or by its id (path below the data's root). DataError where there is none, or it cannot be
    read."""
    file = Path(text).expanduser()
    sample = text if text in dataset.rows else _sample(file, dataset)
    if sample is not None:
        path = dataset.samples["image"][dataset.rows[sample]].as_py()
        return AskedImage(sample, sample, read_image(dataset.root, path))
    if not file.is_file():
        raise DataError(f"{text}: neither a file nor an image of the data in {dataset.root}.")
    return AskedImage(text, None, read_image(file.resolve().parent, file.resolve().name, max_megapixels))


def _sample(file: Path, dataset: Dataset) -> str | None:
    root = dataset.root.resolve()
    if not file.exists() or not file.resolve().is_relative_to(root):
        return None
    name = file.resolve().relative_to(root).as_posix()
    return name if name in dataset.rows else None
