"""A contact sheet a cluster: images that are surely in it, as many of each class as there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ddb.data.images import Pixels, read_image
from ddb.data.table import Dataset
from ddb.discovery.findings import Finding
from ddb.errors import DataError

PANEL, COLUMNS, GAP, LINE = 128, 8, 8, 18
SHOWN = 24
"""Images of a sheet, at most."""
PAGE, INK, PALE = (250, 250, 250), (25, 25, 25), (120, 120, 120)


def examples(finding: Finding, chosen: npt.NDArray[np.bool_], dataset: Dataset, count: int) -> list[int]:
    """Rows of training images in `chosen` [N], the surest of each class in turn, at most `count`."""
    train = np.array(dataset.samples["split"].to_pylist()) == "train"
    labels = dataset.samples["label"].to_numpy()
    order = np.argsort(-finding.sure, kind="stable")
    order = order[(chosen & train)[order]]
    by_class = [order[labels[order] == label].tolist() for label in range(len(dataset.classes))]
    turns = [row for turn in range(count) for own in by_class for row in own[turn : turn + 1]]
    return turns[:count]


def picture(dataset: Dataset, row: int) -> Pixels:
    """An image; a grey square where it cannot be read any more."""
    try:
        return read_image(dataset.root, dataset.samples["image"][row].as_py())
    except DataError:
        return np.full((8, 8, 3), 127, np.uint8)


def write_sheet(path: Path, heading: str, rows: Sequence[int], dataset: Dataset) -> None:
    """The images `rows` of the data set on one sheet, each with its class."""
    columns = min(COLUMNS, max(len(rows), 4))
    height = GAP + LINE + GAP + -(-len(rows) // columns) * (PANEL + LINE + GAP)
    sheet = Image.new("RGB", (GAP + columns * (PANEL + GAP), height), PAGE)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), heading, INK, ImageFont.load_default(14))
    for number, row in enumerate(rows):
        line, column = divmod(number, columns)
        x, y = GAP + column * (PANEL + GAP), 2 * GAP + LINE + line * (PANEL + LINE + GAP)
        sheet.paste(_panel(picture(dataset, row)), (x, y))
        label = dataset.classes[dataset.samples["label"][row].as_py()]
        draw.text((x, y + PANEL + 1), label[:18], PALE, ImageFont.load_default(12))
    sheet.save(path)


def _panel(pixels: Pixels) -> Image.Image:
    """An image inside a square of the sheet. Small ones are enlarged pixel by pixel."""
    image = Image.fromarray(pixels)
    scale = PANEL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    panel = Image.new("RGB", (PANEL, PANEL), PAGE)
    panel.paste(image, ((PANEL - size[0]) // 2, (PANEL - size[1]) // 2))
    return panel
