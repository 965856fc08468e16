"""Random crops of stored pictures: torchvision's, of the right place, and the same to the bit where the picture is the
input's square."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from ddb.config import Augment
from ddb.learn.classifier import to_tensor
from ddb.learn.training import crops as cropping
from ddb.learn.training.augment import ASPECT, RandomNumbers, Windows, draw_windows
from ddb.learn.training.material import Images

SIZE = 16
SETTINGS = Augment(scale=(0.3, 1.0))
CPU = torch.device("cpu")


def crops(parts: Sequence[tuple[Images, np.ndarray]], drawn: Windows) -> tuple[np.ndarray, Windows]:
    """The squares of a batch, and the crops that remain."""
    squares = np.empty((sum(len(rows) for _, rows in parts), SIZE, SIZE, 3), np.uint8)
    with ThreadPoolExecutor(2) as workers:
        return squares, cropping.crops(parts, drawn, squares, workers)


class Pictures(list):
    """Pictures of various sizes in memory."""


def images(shapes: list[tuple[int, int]], seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    pictures = Pictures(rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes)
    squares = rng.integers(0, 256, (len(shapes), SIZE, SIZE, 3), dtype=np.uint8)
    return Images(squares, np.zeros(len(shapes), np.int64), pictures=pictures)


def windows(count: int, settings: Augment = SETTINGS, seed: int = 0) -> Windows:
    return draw_windows(settings, RandomNumbers(torch.Generator().manual_seed(seed), count))


def test_squares_of_the_inputs_size_are_cropped_as_ever(colours):
    """The same bits from a store of pictures as from the array."""
    rows = np.arange(20)[::-1].copy()
    of_array = Images(colours.pixels, colours.labels)
    of_store = Images(np.zeros_like(colours.pixels), colours.labels, pictures=colours.pixels)
    expected = windows(20).of_squares(to_tensor(colours.pixels[rows], CPU))
    for source in (of_array, of_store):
        pixels, left = crops([(source, rows)], windows(20))
        assert torch.equal(left.of_squares(to_tensor(pixels, CPU)), expected)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (17, 90), (200, 180), (16, 17), (9, 11)])
def test_a_crop_is_torchvisions_of_the_same_box(shape):
    """At whole pixels, where torchvision can cut: bilinear with antialiasing."""
    source = images([shape] * 30)
    drawn = windows(30)
    boxes = np.array([drawn.box(row, *shape) for row in range(30)]).round().astype(int)
    exact = Boxes(drawn.sign, drawn.area, drawn.aspect, drawn.across, drawn.down)
    exact.boxes.update(enumerate(map(tuple, boxes.tolist())))
    pixels, left = crops([(source, np.arange(30))], exact)
    found = left.of_squares(to_tensor(pixels, CPU))
    for row, (near, top, far, bottom) in enumerate(boxes.tolist()):
        picture = torch.from_numpy(source.pictures[row]).permute(2, 0, 1)
        if drawn.sign[row] < 0:
            picture, near, far = picture.flip(2), shape[1] - far, shape[1] - near
        theirs = tv.resize(tv.crop(picture, top, near, bottom - top, far - near).float(), [SIZE, SIZE], antialias=True)
        inner = (
            slice(None),
            slice(2, -2),
            slice(2, -2),
        )  # Pillow sees past the box at its border
        assert (found[row] - theirs)[inner].abs().max() <= 1.01


class Boxes(Windows):
    """Windows with boxes of whole pixels."""

    boxes: dict = {}

    def box(self, row, height, width):
        return self.boxes[row]


@pytest.mark.parametrize("shape", [(100, 100), (90, 200), (400, 60), (50, 51)])
def test_boxes_are_inside_and_of_the_asked_area_and_aspect(shape):
    settings = Augment(scale=(0.2, 0.9))
    drawn = windows(300, settings)
    boxes = np.array([drawn.box(row, *shape) for row in range(300)])
    left, top, right, bottom = boxes.T
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= shape[1] and bottom.max() <= shape[0]
    width, height = right - left, bottom - top
    assert (width > 0).all() and (height > 0).all()
    assert (width / height).min() >= ASPECT[0] - 1e-5 and (width / height).max() <= ASPECT[1] + 1e-5
    area = width * height / (shape[0] * shape[1])
    inside = (width < shape[1] - 1e-6) & (height < shape[0] - 1e-6)
    asked = drawn.area.numpy()
    np.testing.assert_allclose(area[inside], asked[inside], rtol=1e-4)
    assert (area <= asked + 1e-4).all()
    assert inside.mean() > 0.9 or max(shape) > 2 * min(shape)


def test_pictures_and_squares_share_a_batch():
    """A step's parts one after another; without cropping the squares are taken, whatever the pictures."""
    source, other = images([(SIZE, SIZE), (30, 40), (SIZE, SIZE)]), images([(20, 20)] * 2, 1)
    parts = [(source, np.array([2, 1, 0])), (Images(other.pixels, other.labels), np.array([1]))]
    pixels, left = crops(parts, windows(4))
    assert np.array_equal(pixels[0], source.pictures[2]) and np.array_equal(pixels[2], source.pictures[0])
    assert np.array_equal(pixels[3], other.pixels[1])
    assert left.area.tolist()[1] == 1 and left.area.tolist()[0] == windows(4).area.tolist()[0]
    whole, _ = crops(parts, windows(4, Augment(scale=(1.0, 1.0))))
    assert np.array_equal(whole[:3], source.pixels[[2, 1, 0]])


def test_a_large_picture_is_antialiased():
    chequered = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (64, 64))[..., None].repeat(3, axis=2)
    source = Images(np.zeros((1, SIZE, SIZE, 3), np.uint8), np.zeros(1, np.int64), pictures=[chequered])
    pixels, _ = crops([(source, np.array([0]))], windows(1))
    assert np.abs(pixels.astype(int) - 127).max() <= 12
