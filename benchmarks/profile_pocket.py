"""Where the time of `ddb run pocket-waterbirds` goes: the hot paths, their arithmetic and the rate that they reach.

    python benchmarks/profile_pocket.py [--run runs/demo]

Each row is measured alone, warmed up, median of several repetitions. GFLOP counts a multiplication and an addition of
matrix products, convolutions and attention as two operations (torch.utils.flop_counter). "Of a matrix product's" is the
rate beside that of a large square matrix product in the same type on the same machine in the same minute. `--run` adds
the stages' wall times.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ddb.backends import Lesson
from ddb.backends.classifiers.timm_classifier import create_classifier
from ddb.backends.generators.diffusion.generator import canvas, decode, encode
from ddb.backends.generators.diffusion.learning.denoising import Noised, denoising_losses
from ddb.backends.generators.diffusion.learning.views import encode_views
from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.registry import diffusion_weights, open_segmenter
from ddb.config import LatentDiffusionConfig, RunConfig
from ddb.config.load import load_config
from ddb.context import Context, Models
from ddb.data.images import png_bytes, read_png
from ddb.data.masks import shaped
from ddb.data.table import Dataset
from ddb.engine import journal
from ddb.learn.attribution import Integral, integrated_gradients
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.halving import BatchSize
from ddb.learn.predict import logits
from ddb.pocket.world import render, sample_scene

REPEATS = 7


@dataclass(frozen=True)
class HotPath:
    """A hot path: what it is, how many images a call handles, the call, and how many calls a run makes (about).
    `counted`: torch's counter cannot follow a gradient with respect to the input."""

    name: str
    images: int
    call: Callable[[], object]
    dtype: torch.dtype
    calls: int
    counted: bool = True


def seconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def flops(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def peak(dtype: torch.dtype, side: int = 1536) -> float:
    """FLOP/s of a square matrix product."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: a @ b)


def paths(config: RunConfig, runtime: Runtime) -> list[HotPath]:
    rng = np.random.default_rng(0)
    inpaint, invert, erm = config.inpaint, config.invert, config.erm
    pictures = [render(sample_scene(rng, plan="landbird")) for _ in range(64)]
    images = [picture.image for picture in pictures]
    regions = [shaped(picture.mask, config.segment) for picture in pictures]
    assert isinstance(inpaint, LatentDiffusionConfig)
    model = open_diffusion(diffusion_weights(inpaint), runtime)
    batch = inpaint.batch_size
    text = model.prompts.encode("a photo of a bird")
    beside = canvas(model, images[:batch], regions[:batch], with_known=False)
    pixels = torch.from_numpy(np.stack(images[:batch])).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = encode(model, pixels)
    assert beside.masked is not None
    inputs, pair = torch.cat([latents, beside.mask, beside.masked], dim=1), text.expand(2 * batch)

    @torch.no_grad()
    def denoise() -> None:
        model.predict(inputs, torch.tensor(500), pair)

    masks = [picture.mask for picture in pictures]
    lesson = Lesson(0, images[:30], regions[:30], "bird", 0, masks[:30])
    views = encode_views(model, inpaint, lesson, True)
    rows, times = torch.arange(invert.batch_size), torch.randint(1000, (invert.batch_size,))
    noised = Noised(rows, times, torch.randn((invert.batch_size, *views.latents.shape[1:])))

    def learn() -> None:
        wanted = replace(text, hidden=text.hidden.clone().requires_grad_())
        denoising_losses(model, wanted, views, noised).mean().backward()

    loaded = create_classifier(erm, ("a", "b"), 0)
    stack = np.stack(images)
    labels = np.zeros(64, np.int64)
    network = loaded.classifier.on(runtime.device)

    def train() -> None:
        network.train().requires_grad_(True)
        x = loaded.classifier.normalise(torch.from_numpy(stack).permute(0, 3, 1, 2).float())
        with runtime.autocast():
            out = network(x)
        out.float().sum().backward()

    exact = runtime.exact()
    integral = Integral(32, "logit", BatchSize(8, "batches of", "free the device"))
    segmenter = open_segmenter(config.segment, Context(cast(Dataset, None), 0, "cpu", "fp32", Path()), Models())
    names = [str(i) for i in range(64)]
    coded = [png_bytes(image) for image in images]
    assert isinstance(inpaint.per_class, int), "the preset says how many"
    painted = 2 * inpaint.per_class
    batches = math.ceil(painted / batch)
    steps, sixty_fours = inpaint.steps * batches, math.ceil(painted / 64)
    return [
        HotPath("inpaint: UNet, one step, with guidance", batch, denoise, runtime.dtype, steps),
        HotPath("inpaint: encode a batch (VAE)", batch, lambda: encode(model, pixels), torch.float32, batches),
        HotPath("inpaint: decode a batch (VAE)", batch, lambda: decode(model, latents), torch.float32, batches),
        HotPath("invert: one step, forward and back", invert.batch_size, learn, runtime.dtype, 2 * invert.steps),
        # 64 images are two ERM steps, or one of retraining (32 images and 16 counterfactuals of each class)
        HotPath("erm, retrain: one step", 64, train, runtime.dtype, 6 * 75 // 2 + 5 * 75),
        HotPath("predict", 64, lambda: logits(loaded.classifier, stack, exact, 64), torch.float32, 150),
        HotPath(
            "score: integrated gradients, 32 points", 64,
            lambda: integrated_gradients(loaded.classifier, stack[::-1], stack, labels, exact, integral),
            torch.float32, 1, counted=False,
        ),
        HotPath("segment", 64, lambda: segmenter.segment(names, images, "bird", 16), torch.float32, sixty_fours),
        HotPath("PNG: write", 64, lambda: [png_bytes(image) for image in images], torch.float32, sixty_fours),
        HotPath("PNG: read", 64, lambda: [read_png(data) for data in coded], torch.float32, sixty_fours),
    ]  # fmt: skip


def stage_times(run: Path) -> None:
    """Wall times from a run's own record."""
    print("\n| stage | seconds |\n|---|---|")
    total = 0.0
    for event in journal.events(run):
        if event["event"] == "finished":
            total += event["seconds"]
            print(f"| {event['stage']} | {event['seconds']:.1f} |")
    print(f"| sum | {total:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    args = parser.parse_args()
    config = load_config("pocket-waterbirds")
    runtime = open_accelerator("cpu", "auto")
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, {runtime.dtype}\n")
    peaks = {dtype: peak(dtype) for dtype in {torch.float32, runtime.dtype}}
    print("| hot path | images | ms a call | images/s | GFLOP | GFLOP/s | of a matrix product's | s a run |")
    print("|---|---|---|---|---|---|---|---|")
    for path in paths(config, runtime):
        took, work = seconds(path.call), flops(path.call) if path.counted else 0
        rate = work / took
        cells = [path.name, str(path.images), f"{1000 * took:.1f}", f"{path.images / took:.0f}"]
        cells += [f"{work / 1e9:.2f}", f"{rate / 1e9:.0f}", f"{rate / peaks[path.dtype]:.0%}"] if work else ["", "", ""]
        print(f"| {' | '.join(cells)} | {took * path.calls:.1f} |")
    for dtype, value in peaks.items():
        print(f"\nmatrix product in {dtype}: {value / 1e9:.0f} GFLOP/s")
    if args.run:
        stage_times(args.run)


if __name__ == "__main__":
    main()
