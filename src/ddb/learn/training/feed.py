"""The inputs of the coming training steps: drawn, read, cropped and copied to the device by a thread, while the model
computes the present step.

The thread alone uses the epoch's generator, in the order of the steps, so a step's inputs do not depend on how far
ahead the thread is. On CUDA pictures are read into pinned memory and copied on a stream of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddb.config import Augment
from ddb.data.stores.hashed_file import in_order
from ddb.learn.classifier import as_images
from ddb.learn.cores import usable_cores
from ddb.learn.training.augment import Distortion, RandomNumbers, Windows, draw_distortion, draw_windows
from ddb.learn.training.batches import Batch, Rows
from ddb.learn.training.crops import crops
from ddb.learn.training.material import Images, Material
from ddb.learn.training.parallel import own_images, own_positions


@dataclass(frozen=True)
class Squares:
    """B pictures at the input size, before augmentation: `pixels` uint8 [B, S, S, 3] on the device; how they are
    cropped and distorted."""

    pixels: Tensor
    windows: Windows
    distortion: Distortion

    def augmented(self) -> Tensor:
        """float [B, 3, S, S] in 0-255."""
        return self.distortion.of(self.windows.of_squares(as_images(self.pixels)))


@dataclass(frozen=True)
class Inputs:
    """This process's share of a step: B images of all loss terms, one term after another. `parts`: their rows in each
    of `sources`; `scale` float32 [B] on the CPU: factor of each image's loss, so that the sum of all is the sum of the
    terms' weighted means; `rows` int64: the training images of the whole batch; `partners`: the pictures that those of
    the first part are mixed with; `ready`: when the copies to the device end (None: they have ended)."""

    squares: Squares
    partners: Squares | None
    parts: Sequence[Batch]
    sources: Sequence[Images]
    scale: Tensor
    rows: Rows
    ready: torch.cuda.Event | None

    def wait(self) -> None:
        """Make the device's present stream wait for the copies; the host does not wait."""
        if self.ready is None:
            return
        stream = torch.cuda.current_stream(self.squares.pixels.device)
        stream.wait_event(self.ready)
        for squares in (self.squares, self.partners):
            if squares is not None:
                squares.pixels.record_stream(stream)
                if squares.distortion.noise is not None:
                    squares.distortion.noise.record_stream(stream)


@dataclass(frozen=True)
class Feed:
    """What prepares inputs: `thread`, a pool of one; `workers`, which read and crop; `stream` for copies (None: not
    CUDA)."""

    material: Material
    augment: Augment
    size: int
    device: torch.device
    thread: ThreadPoolExecutor
    workers: ThreadPoolExecutor
    stream: torch.cuda.Stream | None

    def inputs(self, steps: Sequence[Sequence[Batch]], generator: torch.Generator) -> Iterator[Inputs]:
        """The inputs of each step, whose batch holds for each loss term the images of all processes. One step is
        prepared ahead. Exceptions of reading pass through. Until the iteration ends, nothing else may draw from
        `generator`."""
        return in_order(self.thread, lambda batch: self.prepared(batch, generator), steps, 1)

    def prepared(self, batch: Sequence[Batch], generator: torch.Generator) -> Inputs:
        """The inputs of one step."""
        material = self.material
        sources = [material.train, *(term.images for term in material.terms)]
        gammas = [1.0, *(term.gamma for term in material.terms)]
        sizes = [len(part.rows) for part in batch]
        own = [part.part(positions) for part, positions in zip(batch, own_positions(sizes), strict=True)]
        factors = [np.float32(gamma / size) for gamma, size in zip(gammas, sizes, strict=True)]
        scale = np.concatenate(
            [_weights(source, part) * factor for source, part, factor in zip(sources, own, factors, strict=True)]
        )
        partners, ready = None, None
        with torch.cuda.stream(self.stream):
            squares = self._squares(own, sources, RandomNumbers(generator, sum(sizes), own_images(), self.device))
            if own[0].partners is not None:  # augmented with random numbers of their own, drawn after the images'
                numbers = RandomNumbers(generator, sizes[0], own_images(), self.device)
                partners = self._squares([Batch(own[0].partners)], [material.train], numbers)
            if self.stream is not None:
                ready = self.stream.record_event()
        return Inputs(squares, partners, own, sources, torch.from_numpy(scale), batch[0].rows, ready)

    def _squares(self, parts: Sequence[Batch], sources: Sequence[Images], numbers: RandomNumbers) -> Squares:
        windows = draw_windows(self.augment, numbers)
        distortion = draw_distortion(self.augment, numbers, (self.size, self.size))
        shape, pinned = (sum(len(part.rows) for part in parts), self.size, self.size, 3), self.stream is not None
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        chosen = [(source, part.rows) for source, part in zip(sources, parts, strict=True)]
        left = crops(chosen, windows, pixels.numpy(), self.workers)
        return Squares(pixels.to(self.device, non_blocking=pinned), left, distortion)


@contextmanager
def open_feed(material: Material, augment: Augment, size: int, device: torch.device) -> Iterator[Feed]:
    """A feed for a fit. On exit its threads end."""
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    cores = usable_cores()
    with ThreadPoolExecutor(1, "ddb-feed") as thread, ThreadPoolExecutor(cores, "ddb-crop") as workers:
        try:
            yield Feed(material, augment, size, device, thread, workers, stream)
        finally:
            thread.shutdown(wait=True, cancel_futures=True)


def _weights(images: Images, batch: Batch) -> npt.NDArray[np.float32]:
    weights = np.ones(len(batch.rows), np.float32) if images.weights is None else images.weights[batch.rows]
    return weights if batch.weights is None else weights * batch.weights
