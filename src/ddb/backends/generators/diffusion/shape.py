"""How painting begins on a device: the batch size by its memory, and whether the UNet is compiled."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import replace

import torch

from ddb.backends.generators.diffusion.generator import LatentDiffusion
from ddb.config import LatentDiffusionConfig
from ddb.config.inpaint import AUTO_BATCH
from ddb.learn.halving import tried

log = logging.getLogger("ddb")

MOST = 32
"""Largest batch size that "auto" chooses: a GPU is as good as fully used from 16 on."""
RESERVE = 0.85
"""Share of the free memory that a batch may take."""
PAYS_FROM = 2000
"""Planned images from which "auto" compiles: if compiling takes 100 s and saves a third of the UNet's 0.15 s an image
(512 pixels, H200), it is paid for then."""


def compiles(settings: LatentDiffusionConfig, device: torch.device, planned: int) -> bool:
    """Whether the UNet is compiled for so many images; said in the log where "auto" decides for it."""
    if settings.compile != "auto":
        return settings.compile == "on"
    able = device.type == "cuda" and importlib.util.find_spec("triton") is not None
    if able and planned >= PAYS_FROM:
        log.info("inpaint: the UNet is compiled first, for %d images (inpaint.compile: off to leave it out)", planned)
        return True
    return False


def automatic(painter: LatentDiffusion) -> int:
    """The batch size for "auto": what is `probed` on CUDA, elsewhere a constant."""
    return probed(painter) if painter.model.runtime.device.type == "cuda" else AUTO_BATCH


def probed(painter: LatentDiffusion) -> int:
    """The largest power of 2 up to `MOST` of which a batch fits into the free memory, by the memory that batches of one
    and of two images take in one step; 1 where these do not fit."""
    settings, device = painter.settings, painter.model.runtime.device
    probe = replace(painter, settings=settings.model_copy(update={"steps": 1, "strength": 1.0}))
    one, two = (tried(lambda count: _taken(probe, count, device), count) for count in (1, 2))
    if one is None or two is None:
        return 1
    size = fitting(_free(device), one, two)
    log.info("inpaint: batches of %d counterfactuals, by the memory of the device", size)
    return size


def fitting(free: int, one: int, two: int) -> int:
    """The largest power of 2, at most `MOST`, of which a batch fits into `free` bytes, where batches of one and of two
    images take so many bytes."""
    each = max(two - one, 1)
    room = int((RESERVE * free - (one - each)) // each)
    return 1 << (min(max(room, 1), MOST).bit_length() - 1)


def _taken(painter: LatentDiffusion, count: int, device: torch.device) -> int:
    """Bytes that a batch of `count` blanks takes beyond the weights. torch's OutOfMemoryError where it does not fit."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    painter.render([painter.blank] * count)
    return torch.cuda.max_memory_allocated(device) - before


def _free(device: torch.device) -> int:
    """Bytes that torch can still allocate: free on the device, or reserved by torch and not in use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
