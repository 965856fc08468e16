"""Random crops of training pictures at the classifier's input size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from itertools import chain

import numpy as np
from PIL import Image

from ddb.learn.classifier import Pixels
from ddb.learn.training.augment import Windows
from ddb.learn.training.batches import Rows
from ddb.learn.training.material import Images

AT_ONCE = 8
"""Pictures that a worker crops in one go: a task for each picture would cost more than small pictures take."""


def crops(parts: Sequence[tuple[Images, Rows]], windows: Windows, squares: Pixels, workers: Executor) -> Windows:
    """Write the pictures of a batch at the input size into `squares`, uint8 [B, size, size, 3]; returns the crops that
    remain to be done on the device (`Windows.of_squares`). `parts`: for each loss term its images and their rows;
    `windows`: of all B pictures.

    A picture of size x size pixels is taken whole and cropped on the device. Any other picture is cropped and resized
    here, bilinear with antialiasing, as torchvision's RandomResizedCrop does.
    """
    tasks: list[tuple[Images, Rows, int]] = []
    start = 0
    for images, rows in parts:
        if images.pictures is None or not windows.crops:
            squares[start : start + len(rows)] = images.pixels[rows]
        else:
            tasks += [(images, rows[at : at + AT_ONCE], start + at) for at in range(0, len(rows), AT_ONCE)]
        start += len(rows)
    cropped: Iterable[list[int]] = workers.map(lambda task: _fill(squares, windows, *task), tasks)
    return windows.done(list(chain.from_iterable(cropped)))


def _fill(squares: Pixels, windows: Windows, images: Images, rows: Rows, start: int) -> list[int]:
    """Write the pictures of these rows into `squares` from `start` on; returns the positions of the cropped ones."""
    pictures, size = images.pictures, squares.shape[1]
    assert pictures is not None
    cropped = []
    for position, row in enumerate(rows.tolist(), start):
        picture = pictures[row]
        height, width = picture.shape[:2]
        if (height, width) == (size, size):
            squares[position] = picture
        else:
            box = windows.box(position, height, width)
            small = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR, box=box)
            squares[position] = np.asarray(small)
            cropped.append(position)
    return cropped
