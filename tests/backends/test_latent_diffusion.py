"""Sampling equals diffusers' own pipeline; pixels outside the mask are the source's; every image stands alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb.backends import Task
from ddb.backends.latent_diffusion import LatentDiffusion, canvas, encode
from ddb.backends.latent_diffusion_geometry import paste_back, take, window
from ddb.backends.latent_diffusion_loading import Diffusion, open_diffusion
from ddb.backends.latent_diffusion_sampling import SCHEDULERS, build_scheduler, sample
from ddb.backends.registry import generator_identity
from ddb.backends.weights import found_identity
from ddb.config import InpaintConfig
from ddb.errors import ConfigError, ModelError
from ddb.learn.device import Runtime

Tasks = Callable[..., list[Task]]
FP32 = Runtime(torch.device("cpu"), torch.float32)
PAINT = InpaintConfig(weights="tiny", image_size=32, steps=4, guidance=3.0, feather=1, batch_size=8)


def ours(model: Diffusion, config: InpaintConfig, items: list[Task]) -> torch.Tensor:
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(t.seed)) for t in items])
    text = torch.stack([model.prompts.encode(t.prompt) for t in items])
    board = canvas(model, [t.image for t in items], [t.mask for t in items], config.strength < 1)
    against = torch.stack([model.prompts.encode(t.against) for t in items])
    return sample(model, config, text, against, noise, board)


def theirs(folder: Path, model: Diffusion, config: InpaintConfig, items: list[Task]) -> torch.Tensor:
    """diffusers' pipeline on the same latents (posterior's mode), noise, steps and scheduler."""
    pipe = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = build_scheduler(model.schedule, config.scheduler)
    images = torch.from_numpy(np.stack([t.image for t in items])).permute(0, 3, 1, 2).float() / 127.5 - 1
    holes = torch.from_numpy(np.stack([t.mask for t in items]))[:, None].float()
    output = pipe(
        prompt=[t.prompt for t in items],
        negative_prompt=[t.against for t in items],
        image=encode(model, images),
        mask_image=holes,
        masked_image_latents=encode(model, images * (1 - holes)),
        height=32,
        width=32,
        strength=config.strength,
        num_inference_steps=config.steps,
        guidance_scale=config.guidance,
        generator=[torch.Generator().manual_seed(t.seed) for t in items],
        output_type="latent",
    )
    return output.images


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@pytest.mark.parametrize("channels", ["nine", "four"])
def test_latents_equal_diffusers_pipeline(
    scheduler: str, channels: str, request: pytest.FixtureRequest, tasks: Tasks
) -> None:
    model = request.getfixturevalue(channels)
    folder = request.getfixturevalue("inpainting_folder" if channels == "nine" else "text_to_image_folder")
    config = PAINT.model_copy(update={"scheduler": scheduler, "steps": 6})
    items = tasks(2)
    torch.testing.assert_close(ours(model, config, items), theirs(folder, model, config, items), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("strength", "guidance"), [(0.5, 3.0), (1.0, 1.0), (0.75, 1.0)])
@pytest.mark.parametrize("channels", ["nine", "four"])
def test_strength_and_guidance_equal_diffusers_pipeline(
    strength: float, guidance: float, channels: str, request: pytest.FixtureRequest, tasks: Tasks
) -> None:
    model = request.getfixturevalue(channels)
    folder = request.getfixturevalue("inpainting_folder" if channels == "nine" else "text_to_image_folder")
    config = PAINT.model_copy(update={"strength": strength, "guidance": guidance, "steps": 8})
    items = tasks(2)
    torch.testing.assert_close(ours(model, config, items), theirs(folder, model, config, items), atol=1e-4, rtol=1e-4)


def test_leading_away_from_a_prompt_equals_diffusers_negative_prompt(
    nine: Diffusion, inpainting_folder: Path, tasks: Tasks
) -> None:
    items = [replace(task, against=text) for task, text in zip(tasks(2), ("a photo of a cat", ""), strict=True)]
    told = ours(nine, PAINT, items)
    torch.testing.assert_close(told, theirs(inpainting_folder, nine, PAINT, items), atol=1e-4, rtol=1e-4)
    plain = ours(nine, PAINT, tasks(2))
    assert not torch.allclose(told[0], plain[0], atol=1e-3)
    torch.testing.assert_close(told[1], plain[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", ["nine", "four"])
def test_a_batch_equals_its_items_alone(channels: str, request: pytest.FixtureRequest, tasks: Tasks) -> None:
    model, items = request.getfixturevalue(channels), tasks(5)
    together = ours(model, PAINT, items)
    alone = torch.cat([ours(model, PAINT, [item]) for item in items])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
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
@pytest.mark.parametrize(("height", "width"), [(32, 32), (50, 33), (40, 97), (21, 24)])
def test_any_size_comes_back_and_the_outside_is_untouched(
    height: int, width: int, crop: bool, nine: Diffusion, tasks: Tasks
) -> None:
    (task,) = tasks(1, height, width)
    mask = task.mask if task.mask.any() else np.ones_like(task.mask)
    (painted,) = LatentDiffusion(nine, PAINT.model_copy(update={"crop": crop})).paint([replace(task, mask=mask)])
    assert painted.image.shape == task.image.shape
    assert painted.image.dtype == np.uint8
    assert np.array_equal(painted.changed, mask)
    assert np.array_equal(painted.image[~mask], task.image[~mask])
    assert not np.array_equal(painted.image[mask], task.image[mask])


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


def test_a_thin_mask_survives_scaling_down() -> None:
    mask = np.zeros((300, 300), np.bool_)
    mask[:, 151] = True
    _, hole = take(np.zeros((300, 300, 3), np.uint8), mask, window(mask, False), 32)
    assert hole.any(axis=1).all()


def test_an_empty_mask_is_refused(nine: Diffusion, tasks: Tasks) -> None:
    (task,) = tasks(1)
    with pytest.raises(ValueError, match="mask is empty"):
        LatentDiffusion(nine, PAINT).paint([replace(task, mask=np.zeros_like(task.mask))])


def test_settings_that_do_not_fit_the_model_are_refused(nine: Diffusion) -> None:
    with pytest.raises(ConfigError, match=r"image_size.*34.*multiple of 4"):
        LatentDiffusion(nine, PAINT.model_copy(update={"image_size": 34}))
    with pytest.raises(ConfigError, match="strength"):
        LatentDiffusion(nine, PAINT.model_copy(update={"strength": 0.1}))


def _copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_unusable_weights_are_named(inpainting_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        open_diffusion(str(tmp_path / "nowhere"), FP32)
    broken = _copy(inpainting_folder, tmp_path / "broken")
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(ModelError, match="unet"):
        open_diffusion(str(broken), FP32)
    missing = _copy(inpainting_folder, tmp_path / "missing")
    shutil.rmtree(missing / "vae")
    with pytest.raises(ModelError, match=r"vae: missing"):
        open_diffusion(str(missing), FP32)


def test_a_unet_of_five_channels_is_refused(inpainting_folder: Path, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    folder = _copy(inpainting_folder, tmp_path / "five")
    config = json.loads((folder / "unet" / "config.json").read_text())
    UNet2DConditionModel.from_config({**config, "in_channels": 5}).save_pretrained(folder / "unet")
    with pytest.raises(ModelError, match="5 input channels"):
        open_diffusion(str(folder), FP32)


def test_hub_weights_that_cannot_be_had_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"somebody/model.*folder as `weights`"):
        open_diffusion("somebody/model", FP32)


def test_the_identity_is_known_without_loading_and_names_a_hub_commit(nine: Diffusion, inpainting_folder: Path) -> None:
    assert generator_identity(PAINT.model_copy(update={"weights": str(inpainting_folder)})) == nine.identity
    assert generator_identity(PAINT.model_copy(update={"weights": "somebody/model"})) == "somebody/model"
    snapshot = Path("models--somebody--model/snapshots/0123456789abcdef")
    assert found_identity("somebody/model", Path, snapshot) == "somebody/model@0123456789ab"


def test_bfloat16_painting_stays_near_float32(inpainting_folder: Path, nine: Diffusion, tasks: Tasks) -> None:
    items = tasks(2)
    exact = ours(nine, PAINT, items)
    half = ours(open_diffusion(str(inpainting_folder), Runtime(torch.device("cpu"), torch.bfloat16)), PAINT, items)
    assert half.dtype == torch.float32
    assert (half - exact).abs().mean() < 0.05 * exact.abs().mean()
