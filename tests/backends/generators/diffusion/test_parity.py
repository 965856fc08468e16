"""Our sampler gives the latents of diffusers' own pipelines, for every kind of model, scheduler and prediction.

Our options are switched to theirs: the same latents of the image (the posterior's mode), seeds, steps and scheduler,
and masks on the latent grid, where max-pooling and their nearest sampling agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline

from ddb.backends import Task
from ddb.backends.generators.diffusion.generator import canvas, encode
from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.sampling import SCHEDULERS, build_scheduler, sample
from ddb.backends.generators.diffusion.text import joined
from ddb.backends.weights import parse_weights
from ddb.config import InpaintConfig, inpaint_config
from ddb.learn.device import Runtime

Tasks = Callable[..., list[Task]]
KINDS = ("nine", "four", "xl_nine", "xl_four")
PAINT = inpaint_config(weights="tiny", image_size=32, steps=4, guidance=3.0, feather=1, batch_size=8)
NEAR = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def pairs(folders: dict[str, Path], device: torch.device) -> dict[str, tuple[Diffusion, Any]]:
    """Kind -> our model and diffusers' pipeline on the same weights and device."""
    made = {}
    for kind in KINDS:
        paired = kind.startswith("xl")
        pipeline = StableDiffusionXLInpaintPipeline if paired else StableDiffusionInpaintPipeline
        options = {"add_watermarker": False} if paired else {"safety_checker": None}
        pipe = pipeline.from_pretrained(folders[kind], **options).to(device)
        pipe.set_progress_bar_config(disable=True)
        model = open_diffusion(parse_weights(str(folders[kind])), Runtime(device, torch.float32))
        made[kind] = (model, pipe)
    return made


def ours(model: Diffusion, config: InpaintConfig, items: Sequence[Task]) -> torch.Tensor:
    return sample(
        model,
        config,
        joined([model.prompts.encode(task.prompt) for task in items]),
        joined([model.prompts.encode_against(task.against) for task in items]),
        [torch.Generator().manual_seed(task.seed) for task in items],
        canvas(model, [task.image for task in items], [task.mask for task in items], config.strength < 1),
    )


def theirs(pipe: Any, model: Diffusion, config: InpaintConfig, items: Sequence[Task], **options: Any) -> torch.Tensor:
    pipe.scheduler = build_scheduler(model.schedule, config.scheduler)
    images = torch.from_numpy(np.stack([task.image for task in items])).permute(0, 3, 1, 2).float() / 127.5 - 1
    holes = torch.from_numpy(np.stack([task.mask for task in items]))[:, None].float()
    images, holes = images.to(model.runtime.device), holes.to(model.runtime.device)
    output = pipe(
        prompt=[task.prompt for task in items],
        negative_prompt=[task.against for task in items] if any(task.against for task in items) else None,
        image=encode(model, images),
        mask_image=holes,
        masked_image_latents=encode(model, images * (1 - holes)),
        height=32,
        width=32,
        strength=config.strength,
        num_inference_steps=config.steps,
        guidance_scale=config.guidance,
        generator=[torch.Generator().manual_seed(task.seed) for task in items],
        output_type="latent",
        **options,
    )
    latents: torch.Tensor = output.images
    return latents


# Stable Diffusion's noise schedule; strength and negative prompts are tested on the pocket's as well. (Euler's first
# sigma is 20,000 on the pocket's, where float32 leaves less than 1e-4.)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@pytest.mark.parametrize("kind", KINDS)
def test_latents_equal_diffusers_pipeline(
    kind: str, scheduler: str, prediction: str, guidance: float, pairs: Any, tasks: Tasks
) -> None:
    model, pipe = pairs[kind]
    model = replace(model, schedule={**pairs["four"][0].schedule, "prediction_type": prediction})
    config = PAINT.model_copy(update={"scheduler": scheduler, "guidance": guidance})
    items = tasks(2)
    torch.testing.assert_close(ours(model, config, items), theirs(pipe, model, config, items), **NEAR)


@pytest.mark.parametrize(("strength", "scheduler"), [(0.5, "dpmpp"), (0.75, "ddim"), (0.5, "lcm")])
@pytest.mark.parametrize("kind", KINDS)
def test_strength_equals_diffusers_pipeline(
    kind: str, strength: float, scheduler: str, pairs: Any, tasks: Tasks
) -> None:
    model, pipe = pairs[kind]
    config = PAINT.model_copy(update={"strength": strength, "scheduler": scheduler, "steps": 8})
    items = tasks(2)
    torch.testing.assert_close(ours(model, config, items), theirs(pipe, model, config, items), **NEAR)


@pytest.mark.parametrize("scheduler", ["dpmpp", "ddim"])
@pytest.mark.parametrize(("end", "guided"), [(0.5, 4), (0.3, 3), (0.01, 1)])
def test_guidance_that_ends_equals_diffusers_pipeline(
    end: float, guided: int, scheduler: str, pairs: Any, tasks: Tasks
) -> None:
    """Theirs ends by a callback that drops the half without a prompt (diffusers' documentation, dynamic guidance)."""
    model, pipe = pairs["nine"]
    names = ["prompt_embeds", "mask", "masked_image_latents"]

    def end_guidance(pipe: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step + 1 != guided:
            return {}
        pipe._guidance_scale = 0.0
        return {name: tensors[name].chunk(2)[-1] for name in names}

    config = PAINT.model_copy(update={"steps": 8, "scheduler": scheduler, "guidance_end": end})
    items = tasks(2)
    hook = {"callback_on_step_end": end_guidance, "callback_on_step_end_tensor_inputs": names}
    found = ours(model, config, items)
    torch.testing.assert_close(found, theirs(pipe, model, config, items, **hook), **NEAR)
    assert not torch.allclose(found, ours(model, config.model_copy(update={"guidance_end": 1.0}), items), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_leading_away_from_a_prompt_equals_diffusers_negative_prompt(kind: str, pairs: Any, tasks: Tasks) -> None:
    model, pipe = pairs[kind]
    items = [replace(task, against=text) for task, text in zip(tasks(2), ("a photo of a cat", "a dog"), strict=True)]
    told = ours(model, PAINT, items)
    torch.testing.assert_close(told, theirs(pipe, model, PAINT, items), **NEAR)
    plain = ours(model, PAINT, [replace(items[0], against=""), items[1]])
    assert not torch.allclose(told[0], plain[0], atol=1e-3)
    torch.testing.assert_close(told[1], plain[1], **NEAR)


@pytest.mark.parametrize("forced", [True, False])
def test_no_negative_prompt_is_zeros_where_the_model_says_so(
    forced: bool, pairs: Any, folders: dict[str, Path], tasks: Tasks
) -> None:
    model, pipe = pairs["xl_nine"]
    assert model.prompts.empty_is_zero, "diffusers' default"
    model = replace(model, prompts=replace(model.prompts, empty_is_zero=forced))
    pipe.register_to_config(force_zeros_for_empty_prompt=forced)
    try:
        torch.testing.assert_close(ours(model, PAINT, tasks(2)), theirs(pipe, model, PAINT, tasks(2)), **NEAR)
    finally:
        pipe.register_to_config(force_zeros_for_empty_prompt=True)
    against = model.prompts.encode_against("")
    assert bool((against.hidden == 0).all()) is forced


@pytest.mark.parametrize("kind", ["nine", "xl_four"])
def test_guidance_that_is_an_input_equals_diffusers_pipeline(kind: str, pairs: Any, tasks: Tasks) -> None:
    """A distilled (latent consistency) UNet: one pass a step, told the guidance."""
    model, pipe = pairs[kind]
    torch.manual_seed(5)
    distilled = type(model.unet).from_config({**model.unet.config, "time_cond_proj_dim": 8}).eval()
    model = replace(model, unet=distilled)
    config = PAINT.model_copy(update={"scheduler": "lcm", "guidance": 7.5})
    plain, pipe.unet = pipe.unet, distilled
    try:
        expected = theirs(pipe, model, config, tasks(2))
    finally:
        pipe.unet = plain
    found = ours(model, config, tasks(2))
    torch.testing.assert_close(found, expected, **NEAR)
    other = ours(model, config.model_copy(update={"guidance": 2.0}), tasks(2))
    assert not torch.allclose(found, other, atol=1e-3)


@pytest.mark.parametrize("scheduler", ["dpmpp", "lcm"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_items_alone(kind: str, scheduler: str, pairs: Any, tasks: Tasks) -> None:
    model, items = pairs[kind][0], tasks(4)
    config = PAINT.model_copy(update={"scheduler": scheduler})
    alone = torch.cat([ours(model, config, [item]) for item in items])
    torch.testing.assert_close(ours(model, config, items), alone, **NEAR)


@pytest.mark.parametrize("kind", ["nine", "xl_nine"])
def test_bfloat16_stays_near_float32(kind: str, pairs: Any, folders: dict[str, Path], tasks: Tasks) -> None:
    exact = ours(pairs[kind][0], PAINT, tasks(2))
    runtime = Runtime(torch.device("cpu"), torch.bfloat16)
    model = open_diffusion(parse_weights(str(folders[kind])), runtime)
    assert model.unet.dtype == torch.bfloat16 and model.vae.dtype == torch.float32
    half = ours(model, PAINT, tasks(2))
    assert half.dtype == torch.float32
    assert (half - exact).abs().mean() < 0.05 * exact.abs().mean()
