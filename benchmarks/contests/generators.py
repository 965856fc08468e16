"""Painting and textual inversion beside diffusers: its inpainting pipeline, and a loop as its training example has it.

Both contenders use the same weights, prompts, seeds and noise schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, StableDiffusionInpaintPipeline
from PIL import Image as PillowImage

from contests.contest import Contender, Contest, timed
from ddb.backends import Failed, Lesson, Task
from ddb.backends.generators.diffusion.generator import LatentDiffusion
from ddb.backends.generators.diffusion.learning.inversion import TextualInversion
from ddb.backends.generators.diffusion.learning.views import encode_views
from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.sampling import build_scheduler
from ddb.backends.weights import parse_weights
from ddb.config import InvertConfig, LatentDiffusionConfig
from ddb.data.images import png_bytes
from ddb.engine.overlap import overlapped
from ddb.learn.device import Runtime
from ddb.stage import Batch, Phased, Row

TOKEN = "<peer>"


@dataclass(frozen=True)
class Setting:
    """What is painted: the model's folder, images and masks, and the settings of painting."""

    weights: Path
    runtime: Runtime
    painting: LatentDiffusionConfig
    tasks: Sequence[Task]


def painting_contest(setting: Setting, compiled: bool) -> Contest:
    """Images in, PNGs out. ddb paints the batches with its three phases at the same time, as its stage does."""
    model = open_diffusion(parse_weights(str(setting.weights)), setting.runtime)
    pipe = open_pipeline(setting, model)
    size, device, few = (
        int(setting.painting.batch_size),
        setting.runtime.device,
        replace(setting, tasks=setting.tasks[:2]),
    )
    contenders: dict[str, Contender] = {"ddb": timed(lambda: ours(model, setting), device)}
    if compiled:
        contenders = {"ddb, compiled": timed(lambda: ours(model.compiled(), setting), device), **contenders}
    contenders[f"diffusers' pipeline, batches of {size}"] = timed(lambda: theirs(pipe, setting, size), device)
    contenders["diffusers' pipeline, one by one"] = timed(lambda: theirs(pipe, few, 1), device)
    if compiled:
        faster = open_pipeline(setting, model)
        faster.unet = torch.compile(faster.unet, dynamic=False)
        name = f"diffusers' pipeline, compiled, batches of {size}"
        contenders[name] = timed(lambda: theirs(faster, setting, size), device)
    return Contest("painting", "images/s", contenders, {"ddb": apart(model, pipe, setting)})


def ours(model: Diffusion, setting: Setting) -> int:
    """Paint all tasks."""
    generator, size = LatentDiffusion(model, setting.painting, model.prompts), int(setting.painting.batch_size)

    def rows(painted: Any) -> list[Row]:
        results = generator.finish(painted)
        assert not any(isinstance(one, Failed) for one in results), results
        return [{"png": png_bytes(one.image)} for one in results if not isinstance(one, Failed)]

    def read(batch: Batch) -> Any:
        return generator.prepare([setting.tasks[int(str(name))] for name in batch])

    def fail(worker: Phased, batch: Batch) -> list[Row]:
        return worker(batch)

    names = [str(number) for number in range(len(setting.tasks))]
    batches = [names[start : start + size] for start in range(0, len(names), size)]
    worker = Phased(read, lambda inputs: generator.paint(inputs, size), rows)
    return sum(len(part) for part in overlapped(worker, batches, fail))


def open_pipeline(setting: Setting, model: Diffusion) -> Any:
    """diffusers' inpainting pipeline over the same weights, in the same dtype."""
    pipe = StableDiffusionInpaintPipeline.from_pretrained(
        setting.weights, torch_dtype=setting.runtime.dtype, safety_checker=None, local_files_only=True
    )
    pipe.scheduler = build_scheduler(model.schedule, setting.painting.scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(setting.runtime.device)


def theirs(pipe: Any, setting: Setting, size: int) -> int:
    """Paint all tasks in batches, and encode the images as ddb does."""
    for start in range(0, len(setting.tasks), size):
        for image in painted_by(pipe, setting, setting.tasks[start : start + size]):
            png_bytes(np.asarray(image))
    return len(setting.tasks)


def painted_by(pipe: Any, setting: Setting, tasks: Sequence[Task], output: str = "pil") -> Any:
    """The pipeline's images of a batch ("pil"), or their latents ("latent")."""
    painting = setting.painting
    return pipe(
        prompt=[task.prompt for task in tasks],
        negative_prompt=[task.against for task in tasks],
        image=[PillowImage.fromarray(task.image) for task in tasks],
        mask_image=[PillowImage.fromarray(task.mask) for task in tasks],
        height=painting.image_size,
        width=painting.image_size,
        num_inference_steps=painting.steps,
        guidance_scale=painting.guidance,
        generator=[torch.Generator().manual_seed(task.seed) for task in tasks],
        output_type=output,
    ).images


def apart(model: Diffusion, pipe: Any, setting: Setting) -> str:
    """How far ddb's images of the first tasks are from the pipeline's, inside the mask."""
    tasks = setting.tasks[: min(4, int(setting.painting.batch_size))]
    generator = LatentDiffusion(model, setting.painting.model_copy(update={"feather": 0}), model.prompts)
    mine = generator.finish(generator.paint(generator.prepare(tasks), len(tasks)))
    levels = [
        np.abs(one.image.astype(int) - np.asarray(other))[task.mask].mean()
        for one, other, task in zip(mine, painted_by(pipe, setting, tasks), tasks, strict=True)
        if not isinstance(one, Failed)
    ]
    return f"mean difference from the pipeline's pixels: {np.mean(levels):.2f} of 255"


def inversion_contest(setting: Setting, learning: InvertConfig, steps: int, loop: int) -> Contest:
    """Steps of textual inversion on the same images: `steps` of ddb's, with encoding and held-out losses, and `loop` of
    the example's loop."""
    lesson = Lesson(
        0, [task.image for task in setting.tasks[:30]], [task.mask for task in setting.tasks[:30]], "bird", 0
    )
    model = open_diffusion(parse_weights(str(setting.weights)), setting.runtime)
    short = learning.model_copy(update={"steps": steps})
    inverter = TextualInversion(model, short, setting.painting)

    def learn() -> int:
        inverter.fit(lesson, encode_views(model, setting.painting, lesson, learning.inside_mask))
        return steps

    loops = {"ddb": learn, "the example's loop": example_loop(setting, learning, lesson, loop)}
    contenders = {name: timed(work, setting.runtime.device) for name, work in loops.items()}
    note = {"ddb": f"{steps} steps, with encoding all images once and the held-out losses"}
    return Contest("textual inversion", f"steps of {learning.batch_size}/s", contenders, note)


def example_loop(setting: Setting, learning: InvertConfig, lesson: Lesson, steps: int) -> Callable[[], int]:
    """Textual inversion as diffusers' example trains it, for an inpainting UNet: in every step the images are encoded,
    and AdamW updates the whole embedding table, whose other rows are then restored."""
    device, dtype = setting.runtime.device, setting.runtime.dtype
    pipe = StableDiffusionInpaintPipeline.from_pretrained(
        setting.weights, torch_dtype=dtype, safety_checker=None, local_files_only=True
    ).to(device)
    schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    names = [TOKEN, *(f"{TOKEN}_{number}" for number in range(1, learning.vectors))]
    pipe.tokenizer.add_tokens(names)
    encoder, unet, vae = pipe.text_encoder.float(), pipe.unet, pipe.vae
    encoder.resize_token_embeddings(len(pipe.tokenizer))
    for part in (unet, vae, encoder):
        part.requires_grad_(False)
    table = encoder.get_input_embeddings().weight.requires_grad_(True)
    original = table.detach().clone()
    optimiser = torch.optim.AdamW([table], lr=learning.lr)
    kept = ~torch.isin(torch.arange(len(table)), torch.tensor(pipe.tokenizer.convert_tokens_to_ids(names))).to(device)
    size = setting.painting.image_size
    images = torch.from_numpy(np.stack([_resized(image, size) for image in lesson.images])).permute(0, 3, 1, 2)
    holes = torch.from_numpy(np.stack([_resized(np.asarray(mask), size) for mask in lesson.masks]))[:, None]
    prompt = f"a photo of a {' '.join(names)} bird"
    ids = pipe.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
    length, factor, draw = pipe.tokenizer.model_max_length, vae.config.scaling_factor, torch.Generator().manual_seed(0)

    def loop() -> int:
        for _ in range(steps):
            rows = torch.randint(len(images), (learning.batch_size,), generator=draw)
            pixels, mask = images[rows].to(device, dtype) / 127.5 - 1, holes[rows].to(device, dtype)
            with torch.no_grad():
                latents = vae.encode(pixels).latent_dist.sample() * factor
                masked = vae.encode(pixels * (1 - mask)).latent_dist.sample() * factor
            noise = torch.randn_like(latents)
            times = torch.randint(schedule.config.num_train_timesteps, (len(rows),), device=device)
            noisy = schedule.add_noise(latents, noise, times)
            cells = torch.nn.functional.interpolate(mask, size=latents.shape[-2:])
            hidden = encoder(ids.expand(len(rows), length))[0].to(dtype)
            output = unet(torch.cat([noisy, cells, masked], dim=1), times, hidden).sample
            velocity = schedule.config.prediction_type == "v_prediction"
            target = schedule.get_velocity(latents, noise, times) if velocity else noise
            torch.nn.functional.mse_loss(output.float(), target.float()).backward()
            optimiser.step()
            optimiser.zero_grad()
            with torch.no_grad():
                table[kept] = original[kept]
        return steps

    return loop


def _resized(array: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(PillowImage.fromarray(array).resize((size, size)))
