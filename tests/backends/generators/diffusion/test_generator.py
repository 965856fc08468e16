"""Painting: pixels outside the mask are the source's, any size, items are independent; errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb.backends import Failed, Painted, Task, paint_all
from ddb.backends.generators.diffusion import generator as latent_diffusion
from ddb.backends.generators.diffusion.flat import flat_colour
from ddb.backends.generators.diffusion.generator import LatentDiffusion, canvas
from ddb.backends.generators.diffusion.geometry import paste_back, take, window
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.config import LatentDiffusionConfig
from ddb.errors import ConfigError, DDBError

Tasks = Callable[..., list[Task]]
PAINT = LatentDiffusionConfig(weights="tiny", image_size=32, steps=4, guidance=3.0, feather=1, batch_size=8)


def opened(model: Diffusion, settings: LatentDiffusionConfig) -> LatentDiffusion:
    return LatentDiffusion(model, settings, model.prompts)


def paint(painter: LatentDiffusion, items: list[Task], size: int = 8) -> list[Painted]:
    """Paint in batches of this size; nothing may fail."""
    results = paint_all(painter, items, size)
    assert not [one for one in results if isinstance(one, Failed)]
    return [one for one in results if isinstance(one, Painted)]


def test_batch_size_changes_little(model: Diffusion, tasks: Tasks) -> None:
    items = tasks(5)
    small = opened(model, PAINT)
    for a, b in zip(paint(small, items), paint(small, items, 2), strict=True):
        assert np.abs(a.image.astype(int) - b.image).max() <= 1


def test_seed_prompt_and_source_each_matter(nine: Diffusion, tasks: Tasks) -> None:
    painter, (task,) = opened(nine, PAINT), tasks(1)
    first = paint(painter, [task])[0].image
    assert np.array_equal(first, paint(painter, [task])[0].image)
    assert not np.array_equal(first, paint(painter, [replace(task, seed=1)])[0].image)
    assert not np.array_equal(first, paint(painter, [replace(task, prompt="a cat")])[0].image)


@pytest.mark.parametrize("crop", [False, True])
def test_any_size_comes_back_and_the_outside_is_untouched(crop: bool, model: Diffusion, tasks: Tasks) -> None:
    """Down to images with fewer pixels than the latent grid (8 x 8) has cells, all in one batch."""
    sizes = [(32, 32), (50, 33), (40, 97), (21, 24), (5, 7), (1, 2)]
    items = [task for height, width in sizes for task in tasks(1, height, width)]
    items = [task if task.mask.any() else replace(task, mask=np.eye(*task.mask.shape, dtype=bool)) for task in items]
    results = paint(opened(model, PAINT.model_copy(update={"crop": crop, "steps": 2})), items)
    for task, painted in zip(items, results, strict=True):
        assert painted.image.shape == task.image.shape
        assert painted.image.dtype == np.uint8
        assert np.array_equal(painted.changed, task.mask)
        assert np.array_equal(painted.image[~task.mask], task.image[~task.mask])
        assert not np.array_equal(painted.image[task.mask], task.image[task.mask])


def test_a_soft_edge_lies_inside_the_mask(model: Diffusion, tasks: Tasks) -> None:
    (task,) = tasks(1)
    hard, soft = (paint(opened(model, PAINT.model_copy(update={"feather": width})), [task])[0] for width in (0, 4))
    assert np.array_equal(soft.image[~task.mask], task.image[~task.mask])
    edge = task.mask & ~np.roll(task.mask, 1, axis=0)
    change = [np.abs(one.image[edge].astype(int) - task.image[edge]).mean() for one in (hard, soft)]
    assert change[1] < 0.5 * change[0], "the source shines through at the edge"


def test_large_batches_go_through_the_vae_in_slices(
    model: Diffusion, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = paint(opened(model, PAINT), tasks(3), 3)
    seen: list[int] = []
    monkeypatch.setattr(latent_diffusion, "VAE_PIXELS", 2 * 32 * 32 + 5)
    handle = model.vae.decoder.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    sliced = paint(opened(model, PAINT), tasks(3), 3)
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


def test_an_empty_mask_fails(model: Diffusion, tasks: Tasks) -> None:
    (task,) = tasks(1)
    [failed] = paint_all(opened(model, PAINT), [replace(task, mask=np.zeros_like(task.mask))], 1)
    assert isinstance(failed, Failed) and "mask is empty" in failed.reason


def test_settings_that_do_not_fit_the_model_are_refused(nine: Diffusion) -> None:
    with pytest.raises(ConfigError, match=r"image_size.*34.*multiple of 4"):
        opened(nine, PAINT.model_copy(update={"image_size": 34}))
    with pytest.raises(ConfigError, match="strength"):
        opened(nine, PAINT.model_copy(update={"strength": 0.1}))
    for scheduler, most in (("lcm", 50), ("ddim", 1000)):
        with pytest.raises(ConfigError, match=rf"inpaint.steps: 1001 is more than .*at most {most}"):
            opened(nine, PAINT.model_copy(update={"scheduler": scheduler, "steps": 1001}))
    opened(nine, PAINT.model_copy(update={"scheduler": "lcm", "steps": 50}))


@pytest.fixture
def small_device(nine: Diffusion) -> Iterator[Callable[[int], list[int]]]:
    """Makes the UNet run out of memory beyond so many rows; gives the rows of each pass that was tried."""
    handles = []

    def limit(room: int) -> list[int]:
        tried: list[int] = []

        def guard(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
            tried.append(len(inputs[0]))
            if len(inputs[0]) > room:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        handles.append(nine.unet.conv_in.register_forward_pre_hook(guard))
        return tried

    yield limit
    for handle in handles:
        handle.remove()


def test_out_of_memory_halves_the_batch_for_good_and_changes_no_image(
    nine: Diffusion, tasks: Tasks, small_device: Callable[[int], list[int]]
) -> None:
    painter = opened(nine, PAINT.model_copy(update={"steps": 1, "guidance": 1.0}))
    whole = paint(painter, tasks(5), 5)
    tried = small_device(2)
    for a, b in zip(whole, paint(painter, tasks(5), 5), strict=True):
        assert np.abs(a.image.astype(int) - b.image).max() <= 1
    assert tried == [5, 2, 2, 2], "the last one is filled up"
    tried.clear()
    paint(painter, tasks(4), 5)
    assert tried == [2, 2], "it knows from then on"
    tried.clear()
    paint(opened(nine, painter.settings), tasks(1), 5)
    assert tried == [5, 2, 2, 2], "another generator does not: nothing is kept in the module"


def test_out_of_memory_with_one_image_says_what_to_lower(
    nine: Diffusion, tasks: Tasks, small_device: Callable[[int], list[int]]
) -> None:
    small_device(0)
    with pytest.raises(
        DDBError, match=r"inpaint.batch_size 1: lower inpaint.image_size \(now 32\), set precision bf16"
    ):
        paint(opened(nine, PAINT), tasks(3))


def bits(results: list[Painted | Failed]) -> list[bytes]:
    return [one.image.tobytes() if isinstance(one, Painted) else b"" for one in results]


@pytest.mark.parametrize("kind", ["nine", "four"])
def test_pixels_do_not_depend_on_neighbours_or_their_number(kind: str, model: Diffusion, tasks: Tasks) -> None:
    """To the bit: alone, with others, with failures, in the last batch; each in its place of a batch of four."""
    painter, items = opened(model, PAINT), tasks(4)
    whole = bits(paint_all(painter, items, 4))
    assert bits(paint_all(painter, items[:1], 4)) == whole[:1]
    assert bits(paint_all(painter, [Failed("unreadable"), items[1]], 4)) == [b"", whole[1]]
    empty = replace(items[0], mask=np.zeros_like(items[0].mask))
    assert bits(paint_all(painter, [empty, *items[1:]], 4)) == [b"", *whole[1:]]
    strangers = [replace(item, prompt="a cat", seed=item.seed + 50) for item in items]
    assert bits(paint_all(painter, [strangers[0], items[1], *strangers[2:]], 4))[1] == whole[1]
    assert bits(paint_all(painter, [*strangers, *items[:2]], 4))[4:] == whole[:2]


PARTS = {"unet": "UNet's output", "decoder": "VAE's output", "encoder": "VAE's encoding"}


@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_finite_fails_that_task_alone(part: str, nine: Diffusion, tasks: Tasks) -> None:
    """NaN in one row of a part's output: its neighbours are painted as before, to the bit."""
    painter, items = opened(nine, PAINT.model_copy(update={"guidance": 1.0})), tasks(3)
    whole = bits(paint_all(painter, items, 3))
    module = nine.unet.conv_out if part == "unet" else getattr(nine.vae, part)

    def spoil(module: object, inputs: object, output: Any) -> Any:
        values = output[0] if isinstance(output, tuple) else output
        values = values.clone()
        values[1, 0, 0, 0] = float("nan")
        return (values,) if isinstance(output, tuple) else values

    handle = module.register_forward_hook(spoil)
    results = paint_all(painter, items, 3)
    handle.remove()
    assert bits(results) == [whole[0], b"", whole[2]]
    assert isinstance(results[1], Failed)
    assert f"the {PARTS[part]} is not finite: the weights may be damaged" in results[1].reason


def test_a_damaged_unet_paints_nothing(nine: Diffusion, tasks: Tasks) -> None:
    nine.unet.conv_in.weight.data[0, 0, 0, 0] = float("nan")
    results = paint_all(opened(nine, PAINT), tasks(3), 2)
    assert all(isinstance(one, Failed) and "UNet's output is not finite" in one.reason for one in results)
    assert len(results) == 3


@pytest.mark.parametrize("level", [-1.0, 0.25])
def test_a_region_of_one_flat_colour_is_no_counterfactual(level: float, nine: Diffusion, tasks: Tasks) -> None:
    """The black square of a safety checker, and any other colour; rounding by a level does not hide it."""
    items = tasks(2)

    def flat(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[0] = level + 0.004 * (torch.arange(32) % 2)
        return output

    handle = nine.vae.decoder.register_forward_hook(flat)
    first, second = paint_all(opened(nine, PAINT), items, 2)
    handle.remove()
    assert isinstance(first, Failed)
    assert "painted one flat colour" in first.reason and "safety checker" in first.reason
    assert isinstance(second, Painted)


def test_few_pixels_may_be_of_one_colour() -> None:
    image, region = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.bool_)
    region[:4, :4] = True
    assert flat_colour(image, region) is None
    region[4, 4] = True
    assert flat_colour(image, region) is not None
    image[0, 0, 1] = 2
    assert flat_colour(image, region) is None


def test_an_exception_of_a_library_fails_the_task_that_raises_it(
    nine: Diffusion, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = latent_diffusion.canvas

    def fails(model: Diffusion, images: Any, masks: Any, known: bool) -> Any:
        if any(image[0, 0, 0] == 77 for image in images):
            raise RuntimeError("shape '[2]' is invalid")
        return inner(model, images, masks, known)

    items = tasks(3)
    for item, value in zip(items, (1, 77, 2), strict=True):
        item.image[0, 0, 0] = value
    monkeypatch.setattr(latent_diffusion, "canvas", fails)
    first, second, third = paint_all(opened(nine, PAINT), items, 3)
    assert isinstance(first, Painted) and isinstance(third, Painted)
    assert isinstance(second, Failed) and second.reason == "RuntimeError: shape '[2]' is invalid"
