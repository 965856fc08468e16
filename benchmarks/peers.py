"""ddb beside what its users would otherwise write, in one process, in turn: rates, and ratios to ddb's.

    python benchmarks/peers.py [--only painting,inversion,...] [--rounds 3] [--out peers.json]
    python benchmarks/peers.py --device cuda --full

On the CPU: the built-in world with its bundled weights. With --full: the published architectures (Stable Diffusion 2
inpainting, ResNet-50) with random weights, which are written to a temporary folder first; made for a GPU, where all of
it takes under 8 minutes. Each line is printed as soon as it is known. The table of docs/performance.md is this table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from contests import ceiling
from contests.contest import Results
from contests.generators import Setting, inversion_contest, painting_contest
from contests.scores import last_layer_contest, scores_contest
from contests.training import bench, training_contest

from ddb.backends import Task
from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.registry import diffusion_weights
from ddb.backends.weights import parse_weights
from ddb.config import InvertConfig, LatentDiffusionConfig
from ddb.config.load import load_config
from ddb.data.masks import shaped
from ddb.learn.device import Runtime, open_accelerator
from ddb.pocket.world import render, sample_scene

COLOURS = ("white", "black", "red", "orange", "yellow", "blue", "purple", "pink")


@dataclass(frozen=True)
class Sizes:
    """How much is done: steps of ddb's inversion, with all that comes with them, and of the example's loop."""

    steps: int
    loop: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--full", action="store_true", help="the published architectures with random weights")
    parser.add_argument("--only", help="contests, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    asked = parser.parse_args()
    runtime = open_accelerator(asked.device, asked.precision)
    results = Results()
    print(f"{device_name(runtime)}, {torch.get_num_threads()} threads, torch {torch.__version__}, {runtime.dtype}\n")
    results.head()
    with setting_of(asked.full, runtime) as (setting, learning, sizes):
        contests = contests_of(setting, learning, sizes, results) | classifiers(asked.device, asked.full, results)
        wanted = asked.only.split(",") if asked.only else list(contests)
        for name in wanted:
            contests[name](asked.rounds)
            if asked.out:
                asked.out.write_text(json.dumps(results.as_json(), indent=1) + "\n")


def contests_of(
    setting: Setting, learning: InvertConfig, sizes: Sizes, results: Results
) -> dict[str, Callable[[int], None]]:
    """Name -> runs the contest in so many rounds."""
    device = setting.runtime.device

    def ceilings(rounds: int) -> None:
        top = ceiling.product(results, setting.runtime.dtype, device)
        model = open_diffusion(parse_weights(str(setting.weights)), setting.runtime)
        ceiling.unet(results, model, setting.painting.batch_size, setting.painting.steps, top)

    return {
        "ceiling": ceilings,
        "painting": lambda rounds: painting_contest(setting, device.type == "cuda").run(results, rounds),
        "inversion": lambda rounds: inversion_contest(setting, learning, sizes.steps, sizes.loop).run(results, rounds),
    }


def classifiers(device: str, full: bool, results: Results) -> dict[str, Callable[[int], None]]:
    """The contests of classifiers: training, scores, the last layer."""

    def training(rounds: int) -> None:
        with tempfile.TemporaryDirectory(prefix="peers-") as place:
            training_contest(bench(Path(place), device, full)).run(results, rounds)

    return {
        "training": training,
        "scores": lambda rounds: scores_contest(device, full).run(results, rounds),
        "last layer": lambda rounds: last_layer_contest().run(results, rounds),
    }


@contextmanager
def setting_of(full: bool, runtime: Runtime) -> Iterator[tuple[Setting, InvertConfig, Sizes]]:
    """Weights, images and settings: the built-in world's, or those of Stable Diffusion 2 at 512 px."""
    if not full:
        config = load_config("pocket-waterbirds")
        assert isinstance(config.inpaint, LatentDiffusionConfig)
        folder = diffusion_weights(config.inpaint).folder(())
        tasks = pocket_tasks(2 * config.inpaint.batch_size)
        yield Setting(folder, runtime, config.inpaint, tasks), config.invert, Sizes(config.invert.steps, 10)
        return
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
    from fullsize_models import WRITERS

    with tempfile.TemporaryDirectory(prefix="peers-") as place:
        folder = Path(place) / "sd2-inpainting"
        WRITERS["sd2-inpainting"](folder)
        painting = LatentDiffusionConfig(weights=str(folder), batch_size=16, steps=25, guidance=7.5)
        yield Setting(folder, runtime, painting, photo_tasks(32)), InvertConfig(), Sizes(100, 40)


def pocket_tasks(count: int) -> list[Task]:
    """Birds of the built-in world, to be repainted as the preset does."""
    rng, segment = np.random.default_rng(0), load_config("pocket-waterbirds").segment
    pictures = [render(sample_scene(rng, plan="landbird")) for _ in range(count)]
    prompts = [f"a photo of a {COLOURS[number % len(COLOURS)]} bird" for number in range(count)]
    return [
        Task(picture.image, shaped(picture.mask, segment), 1, words, seed, against="a photo of a bird")
        for seed, (picture, words) in enumerate(zip(pictures, prompts, strict=True))
    ]


def photo_tasks(count: int, side: int = 512) -> list[Task]:
    """Noise with a square to repaint: random weights make nothing of any image."""
    rng = np.random.default_rng(0)
    mask = np.zeros((side, side), np.bool_)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    images = rng.integers(0, 256, (count, side, side, 3), np.uint8)
    return [Task(image, mask, 1, "a photo of a bird", seed) for seed, image in enumerate(images)]


def device_name(runtime: Runtime) -> str:
    return torch.cuda.get_device_name() if runtime.device.type == "cuda" else "CPU"


if __name__ == "__main__":
    main()
