"""The ceiling: the rate of a large matrix product, and that of the UNet's passes alone."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from contests.contest import Line, Results, timed
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.text import Text

SIDES = {"cpu": 1536, "cuda": 8192}
REPEATS = 5


def product(results: Results, dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations a second of a square matrix product."""
    side = SIDES[device.type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def work() -> int:
        _ = a @ b
        return 2 * side**3

    work()
    best = max(timed(work, device)() for _ in range(REPEATS))
    results.add(Line("ceiling", f"matrix product, {side} x {side}", "FLOP/s", best, 1.0, str(dtype)))
    return best


@torch.no_grad()
def unet(results: Results, model: Diffusion, images: int, steps: int, ceiling: float) -> None:
    """Images a second of the UNet's guided passes alone, if nothing else were done."""
    device, side = model.runtime.device, int(model.unet.config.sample_size)
    inputs = torch.randn(images, int(model.unet.config.in_channels), side, side, device=device)
    text = model.prompts.encode("a photo of a bird")
    pair = Text(text.hidden.expand(2 * images, -1, -1), None)
    time = torch.tensor(500, device=device)

    def work() -> int:
        for _ in range(steps):
            model.predict(inputs, time, pair)
        return images

    with FlopCounterMode(display=False) as counter:
        model.predict(inputs, time, pair)
    work()
    best = max(timed(work, device)() for _ in range(REPEATS))
    operations = counter.get_total_flops() * steps / images * best
    note = f"{operations:.3g} FLOP/s, {operations / ceiling:.0%} of a matrix product's"
    results.add(Line("ceiling", f"UNet alone, batches of {images}", "images/s", best, 1.0, note))
