"""Random crops of training pictures at the classifier's input size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from ddb.learn.classifier import Pixels
from ddb.learn.training.augment import Windows
from ddb.learn.training.batches import Rows
from ddb.learn.training.material import Images


def crops(parts: Sequence[tuple[Images, Rows]], windows: Windows, size: int) -> tuple[Pixels, Windows]:
    """The pictures of a batch at the input size, uint8 [B, size, size, 3], and the crops that remain to be done on the
    device (`Windows.of_squares`). `parts`: for each loss term its images and their rows; `windows`: of all B pictures.

    A picture of size x size pixels is returned whole and cropped on the device. Any other picture is cropped and
    resized here, bilinear with antialiasing, as torchvision's RandomResizedCrop does.
    """
    squares = np.empty((sum(len(rows) for _, rows in parts), size, size, 3), np.uint8)
    cropped: list[int] = []
    start = 0
    for images, rows in parts:
        own = slice(start, start + len(rows))
        if images.pictures is None or not windows.crops:
            squares[own] = images.pixels[rows]
        else:
            cropped += _fill(squares[own], images, rows, windows, start)
        start += len(rows)
    return squares, windows.done(cropped)


def _fill(squares: Pixels, images: Images, rows: Rows, windows: Windows, start: int) -> list[int]:
    """Write the pictures of one loss term into `squares`; returns the positions in the batch of the cropped ones."""
    pictures, size = images.pictures, squares.shape[1]
    assert pictures is not None

    def one(index: int) -> bool:
        picture = pictures[int(rows[index])]
        height, width = picture.shape[:2]
        if (height, width) == (size, size):
            squares[index] = picture
            return False
        box = windows.box(start + index, height, width)
        squares[index] = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR, box=box))
        return True

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [start + index for index, done in enumerate(pool.map(one, range(len(rows)))) if done]
