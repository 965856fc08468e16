"""Random crops of training pictures at the classifier's input size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from ddb.learn.augment import Windows
from ddb.learn.batches import Rows
from ddb.learn.classifier import Pixels
from ddb.learn.material import Images


def crops(parts: Sequence[tuple[Images, Rows]], windows: Windows, size: int) -> tuple[Pixels, Windows]:
    """The pictures of a batch at the input's size: uint8 [B, size, size, 3], and what is left to do to them on the
    device (`Windows.of_squares`). `parts`: images and the rows of them, one after another; `windows`: of all B.

    A picture that is the square of the input's size already is returned whole, and cropped on the device. Of another
    the window is cut out and resized here, bilinear with antialiasing as torchvision's RandomResizedCrop does it.
    """
    squares = np.empty((sum(len(rows) for _, rows in parts), size, size, 3), np.uint8)
    cropped: list[int] = []
    start = 0
    for images, rows in parts:
        place = slice(start, start + len(rows))
        if images.pictures is None or not windows.crops:
            squares[place] = images.pixels[rows]
        else:
            cropped += _fill(squares[place], images, rows, windows, start)
        start += len(rows)
    return squares, windows.done(cropped)


def _fill(squares: Pixels, images: Images, rows: Rows, windows: Windows, start: int) -> list[int]:
    """Write the pictures of one part into `squares`; the places in the batch of those that were cropped."""
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
