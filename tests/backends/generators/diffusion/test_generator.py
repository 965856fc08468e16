"""Painting: pixels outside the mask are the source's, any size, every image stands alone; what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb.backends import Task
from ddb.backends.generators.diffusion import generator as latent_diffusion
from ddb.backends.generators.diffusion.generator import LatentDiffusion, canvas
from ddb.backends.generators.diffusion.geometry import paste_back, take, window
from ddb.backends.generators.diffusion.model import Diffusion
from ddb.config import InpaintConfig
from ddb.errors import ConfigError, DDBError

Tasks = Callable[..., list[Task]]
PAINT = InpaintConfig(weights="tiny", image_size=32, steps=4, guidance=3.0, feather=1, batch_size=8)


def test_batch_size_changes_nothing(model: Diffusion, tasks: Tasks) -> None:
    items = tasks(5)
    small = LatentDiffusion(model, PAINT.model_copy(update={"batch_size": 2}))
    for a, b in zip(LatentDiffusion(model, PAINT).paint(items), small.paint(items), strict=True):
        assert np.abs(a.image.astype(int) - b.image).max() <= 1


def test_seed_prompt_and_source_each_matter(nine: Diffusion, tasks: Tasks) -> None:
    painter, (task,) = LatentDiffusion(nine, PAINT), tasks(1)
    first = painter.paint([task])[0].image
    assert np.array_equal(first, painter.paint([task])[0].image)
    assert not np.array_equal(first, painter.paint([replace(task, seed=1)])[0].image)
    assert not np.array_equal(first, painter.paint([replace(task, prompt="a cat")])[0].image)


@pytest.mark.parametrize("crop", [False, True])
def test_any_size_comes_back_and_the_outside_is_untouched(crop: bool, model: Diffusion, tasks: Tasks) -> None:
    """Down to images with fewer pixels than the latent grid (8 x 8) has cells, all in one batch."""
    sizes = [(32, 32), (50, 33), (40, 97), (21, 24), (5, 7), (1, 2)]
    items = [task for height, width in sizes for task in tasks(1, height, width)]
    items = [task if task.mask.any() else replace(task, mask=np.eye(*task.mask.shape, dtype=bool)) for task in items]
    results = LatentDiffusion(model, PAINT.model_copy(update={"crop": crop, "steps": 2})).paint(items)
    for task, painted in zip(items, results, strict=True):
        assert painted.image.shape == task.image.shape
        assert painted.image.dtype == np.uint8
        assert np.array_equal(painted.changed, task.mask)
        assert np.array_equal(painted.image[~task.mask], task.image[~task.mask])
        assert not np.array_equal(painted.image[task.mask], task.image[task.mask])


def test_a_soft_edge_lies_inside_the_mask(model: Diffusion, tasks: Tasks) -> None:
    (task,) = tasks(1)
    hard, soft = (
        LatentDiffusion(model, PAINT.model_copy(update={"feather": width})).paint([task])[0] for width in (0, 4)
    )
    assert np.array_equal(soft.image[~task.mask], task.image[~task.mask])
    edge = task.mask & ~np.roll(task.mask, 1, axis=0)
    change = [np.abs(one.image[edge].astype(int) - task.image[edge]).mean() for one in (hard, soft)]
    assert change[1] < 0.5 * change[0], "the source shines through at the edge"


def test_large_batches_go_through_the_vae_in_slices(
    model: Diffusion, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LatentDiffusion(model, PAINT).paint(tasks(3))
    seen: list[int] = []
    monkeypatch.setattr(latent_diffusion, "VAE_PIXELS", 2 * 32 * 32 + 5)
    handle = model.vae.decoder.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    sliced = LatentDiffusion(model, PAINT).paint(tasks(3))
    handle.remove()
    assert seen == [2, 1]
    for a, b in zip(whole, sliced, strict=True):
        assert np.abs(a.image.astype(int) - b.image).max() <= 1


@given(
    height=st.integers(9, 70),
    width=st.integers(9, 70),
    box=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    crop=st.booleans(),
    size=st.sampled_from([16, 32, 48]),
)
@settings(max_examples=60, deadline=None)
def test_windows_hold_the_mask_and_pasting_an_unpainted_square_changes_little(
    height: int, width: int, box: tuple[float, float, float, float], crop: bool, size: int
) -> None:
    """A smooth image that is cut out, scaled and put back unchanged comes back nearly the same, in the same place."""
    mask = np.zeros((height, width), np.bool_)
    top, left = int(box[0] * (height - 1)), int(box[1] * (width - 1))
    mask[top : top + 1 + int(box[2] * (height - top)), left : left + 1 + int(box[3] * (width - left))] = True
    ramp = np.linspace(40, 200, height)[:, None] + np.linspace(0, 50, width)[None]
    image = np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)
    area = window(mask, crop)
    square, hole = take(image, mask, area, size)
    assert square.shape == (size, size, 3)
    assert hole.any()
    rows, columns = np.nonzero(mask)
    assert area.top <= rows.min()
    assert rows.max() < area.top + area.side
    assert area.left <= columns.min()
    assert columns.max() < area.left + area.side
    back = paste_back(image, mask, area, square, 0)
    assert np.array_equal(back.image[~mask], image[~mask])
    step = max(1.0, area.side / size) * 160 / (min(height, width) - 1)
    assert np.abs(back.image.astype(int) - image).max() <= 4 + 3 * step


def test_a_thin_mask_survives_in_the_latent_grid(nine: Diffusion, tasks: Tasks) -> None:
    (task,) = tasks(1)
    leg = np.zeros((32, 32), np.bool_)
    leg[5:29, 13] = True  # nearest sampling at every fourth pixel would miss it
    assert not leg[::4, ::4].any()
    assert canvas(nine, [task.image], [leg], False).mask[0, 0].sum() == 7


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([16, 32, 64]))
@settings(max_examples=80, deadline=None)
def test_a_mask_that_is_not_empty_is_not_empty_in_the_latent_grid(
    height: int, width: int, seed: int, crop: bool, size: int
) -> None:
    """A single pixel and up, images smaller and larger than the grid: every masked pixel's cell is repainted."""
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.choice([0.0, 0.001, 0.1])
    mask[rng.integers(height), rng.integers(width)] = True
    area = window(mask, crop)
    _, hole = take(np.zeros((height, width, 3), np.uint8), mask, area, size)
    cells = torch.nn.functional.max_pool2d(torch.from_numpy(hole)[None].float(), 4)[0].numpy()
    for row, column in np.argwhere(mask):
        y, x = ((place + 0.5) / area.side * size / 4 for place in (row - area.top, column - area.left))
        assert cells[int(y), int(x)] == 1


def test_a_thin_mask_survives_scaling_down() -> None:
    mask = np.zeros((300, 300), np.bool_)
    mask[:, 151] = True
    _, hole = take(np.zeros((300, 300, 3), np.uint8), mask, window(mask, False), 32)
    assert hole.any(axis=1).all()


def test_an_empty_mask_is_refused(model: Diffusion, tasks: Tasks) -> None:
    (task,) = tasks(1)
    with pytest.raises(ValueError, match="mask is empty"):
        LatentDiffusion(model, PAINT).paint([replace(task, mask=np.zeros_like(task.mask))])


def test_settings_that_do_not_fit_the_model_are_refused(nine: Diffusion) -> None:
    with pytest.raises(ConfigError, match=r"image_size.*34.*multiple of 4"):
        LatentDiffusion(nine, PAINT.model_copy(update={"image_size": 34}))
    with pytest.raises(ConfigError, match="strength"):
        LatentDiffusion(nine, PAINT.model_copy(update={"strength": 0.1}))
    for scheduler, most in (("lcm", 50), ("ddim", 1000)):
        with pytest.raises(ConfigError, match=rf"inpaint.steps: 1001 is more than .*at most {most}"):
            LatentDiffusion(nine, PAINT.model_copy(update={"scheduler": scheduler, "steps": 1001}))
    LatentDiffusion(nine, PAINT.model_copy(update={"scheduler": "lcm", "steps": 50}))


@pytest.fixture
def small_device(nine: Diffusion) -> Iterator[Callable[[int], list[int]]]:
    """Makes the UNet run out of memory beyond so many rows; gives the rows of each pass that was tried."""
    handles = []

    def limit(room: int) -> list[int]:
        tried: list[int] = []

        def guard(module: object, inputs: tuple[torch.Tensor, ...], options: Any) -> None:
            tried.append(len(inputs[0]))
            if len(inputs[0]) > room:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        handles.append(nine.unet.register_forward_pre_hook(guard, with_kwargs=True))
        return tried

    yield limit
    for handle in handles:
        handle.remove()


def test_out_of_memory_halves_the_batch_for_good_and_changes_no_image(
    nine: Diffusion, tasks: Tasks, small_device: Callable[[int], list[int]]
) -> None:
    painter = LatentDiffusion(nine, PAINT.model_copy(update={"steps": 1, "guidance": 1.0}))
    whole = painter.paint(tasks(5))
    tried = small_device(2)
    for a, b in zip(whole, painter.paint(tasks(5)), strict=True):
        assert np.abs(a.image.astype(int) - b.image).max() <= 1
    assert tried == [5, 2, 2, 1]
    tried.clear()
    LatentDiffusion(nine, painter.settings).paint(tasks(4))
    assert tried == [2, 2], "another painter of this process knows"


def test_out_of_memory_with_one_image_says_what_to_lower(
    nine: Diffusion, tasks: Tasks, small_device: Callable[[int], list[int]]
) -> None:
    small_device(0)
    with pytest.raises(
        DDBError, match=r"inpaint.batch_size 1: lower inpaint.image_size \(now 32\), set precision bf16"
    ):
        LatentDiffusion(nine, PAINT).paint(tasks(3))
