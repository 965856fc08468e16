"""Preprocessing: the squares of torchvision's transforms, and masks that hold all that a masked pixel changes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from ddb.data.preprocessing import LONGEST, Preprocessing
from ddb.errors import ModelError

GREY = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
NAMES = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def preprocessing(size: int, crop: float = 1.0, interpolation: str = "bicubic", mode: str = "center") -> Preprocessing:
    return Preprocessing(size, crop, interpolation, *GREY, mode)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("crop", [1.0, 0.95, 0.875, 0.5])
@pytest.mark.parametrize("shape", [(48, 48), (41, 97), (97, 41), (20, 30), (300, 200)])
def test_squares_are_torchvisions(name: str, crop: float, shape: tuple[int, int]) -> None:
    image = noise(*shape)
    mode = InterpolationMode(name)
    theirs = Compose([Resize(int(np.floor(48 / crop)), mode), CenterCrop(48)])(Image.fromarray(image))
    assert np.array_equal(preprocessing(48, crop, name).square(image), np.asarray(theirs))


@pytest.mark.parametrize("crop", [1.0, 0.875])
@pytest.mark.parametrize("shape", [(48, 48), (41, 97), (300, 200), (10, 900)])
def test_squeezed_squares_are_torchvisions(crop: float, shape: tuple[int, int]) -> None:
    image, short = noise(*shape), int(np.floor(48 / crop))
    theirs = Compose([Resize((short, short), InterpolationMode("bicubic")), CenterCrop(48)])(Image.fromarray(image))
    how = preprocessing(48, crop, mode="squash")
    assert np.array_equal(how.square(image), np.asarray(theirs))
    assert how.key != preprocessing(48, crop).key


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_the_inputs_size_is_left_alone(name: str) -> None:
    image, mask = noise(32, 32), noise(32, 32, 1)[..., 0] > 128
    assert np.array_equal(preprocessing(32, 1.0, name).square(image), image)
    assert np.array_equal(preprocessing(32, 1.0, name).mask(mask), mask)


@given(
    st.tuples(st.integers(5, 120), st.integers(5, 120)),
    st.integers(8, 60),
    st.sampled_from([1.0, 0.96, 0.875, 0.6]),
    st.sampled_from(NAMES),
    st.sampled_from(["center", "squash"]),
    st.integers(0, 10**6),
)
@settings(max_examples=200, deadline=None)
def test_a_mask_holds_every_pixel_that_a_masked_one_can_change(shape, size, crop, name, mode, seed) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, bool)
    top, left = rng.integers(shape[0]), rng.integers(shape[1])
    mask[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
    how = preprocessing(size, crop, name, mode)
    changed = np.where(mask[..., None], np.where(image > 127, 0, 255).astype(np.uint8), image)
    differs = (how.square(image) != how.square(changed)).any(axis=2)
    covered = how.mask(mask)
    assert covered.shape == (size, size) and covered.dtype == bool
    assert not (differs & ~covered).any()


@pytest.mark.parametrize(("name", "radius"), [("box", 0.5), ("bilinear", 1), ("bicubic", 2), ("lanczos", 3)])
def test_a_mask_is_no_larger_than_the_kernel(name: str, radius: float) -> None:
    """One masked pixel, shrunk to a third: it reaches pixels whose centres lie within the kernel's radius."""
    mask = np.zeros((90, 90), bool)
    mask[40, 40] = True
    centres = 3 * (np.arange(30) + 0.5)
    near = np.abs(centres - 40.5) <= 3 * radius + 1
    assert not (preprocessing(30, 1.0, name).mask(mask) & ~np.outer(near, near)).any()


@pytest.mark.parametrize("shape", [(1, 30_000), (30_000, 1), (7, 3_000)])
@pytest.mark.parametrize("crop", [1.0, 0.5])
def test_extreme_shapes_cost_little_memory_and_show_the_centre(shape: tuple[int, int], crop: float) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    middle = tuple(slice((side - min(side, 4)) // 2, (side + min(side, 4)) // 2 + 1) for side in shape)
    image[middle] = 200
    tracemalloc.start()
    square = preprocessing(64, crop).square(image)
    mask = preprocessing(64, crop).mask(image[..., 0] > 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert square.shape == (64, 64, 3) and square[32, 32, 0] > 150 and mask[32, 32]
    assert peak < 20 * LONGEST * (64 / crop) ** 2


def test_faults_are_said() -> None:
    with pytest.raises(ModelError, match="interpolation 'random' is not known; use one of nearest, box"):
        preprocessing(32, 1.0, "random")
    with pytest.raises(ModelError, match="crop a share above 0"):
        preprocessing(32, 1.5)
    with pytest.raises(ModelError, match="crop_mode 'border' is not known; it is center or squash"):
        preprocessing(32, mode="border")
    with pytest.raises(ModelError, match="three numbers each"):
        Preprocessing(32, 1.0, "bicubic", (0.5,), (0.5,))  # type: ignore[arg-type]
