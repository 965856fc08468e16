"""Models behind Protocols. One foreign library a file; `registry` opens them through the `Models` of a run.

Images are uint8 HWC RGB 0-255; masks are bool HW with True = the causal part (segmenter) or = repaint (generator).
Results are one per item, in order. An item that cannot be used gives a `Failed` and does not affect the other items. A
`Failed` among the inputs is returned unchanged: a batch keeps its shape and its items their positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Failed:
    """An item without a result: `reason` for people, `traceback` of the exception for the log ("": there is none)."""

    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Detection:
    """A box in pixels of the image, (left, top, right, bottom), which may reach beyond it; its score in [0, 1]."""

    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Detected:
    """Boxes above a detector's thresholds; `score` in [0, 1]: the best of them, or the best of all if none is above."""

    boxes: tuple[Detection, ...]
    score: float


@dataclass(frozen=True)
class Found:
    """The result of a segmenter: `mask` bool HW, may be empty; `score` in [0, 1]; `boxes` that the mask was made from,
    if any; `reason`: why the mask is empty, where the segmenter knows."""

    mask: Mask
    score: float
    boxes: tuple[Detection, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Task:
    """One counterfactual to paint. `prompt` may hold learned tokens; `donor`: an image of the target class with its
    object mask, for generators that copy the object (copy-paste)."""

    image: Image
    mask: Mask
    to_label: int
    prompt: str
    seed: int
    donor: tuple[Image, Mask] | None = None
    old: Mask | None = None
    """Mask of the source's object, inside `mask`; None: all of `mask`. For generators that do not repaint the whole
    mask."""
    against: str = ""
    """The negative prompt of classifier-free guidance; may hold learned tokens."""


@dataclass(frozen=True)
class Painted:
    """`image`: same size as the task's; `changed`: True where it may differ from the source (all else is identical)."""

    image: Image
    changed: Mask


@dataclass(frozen=True)
class Lesson:
    """Training data of a token: images of one class, the regions that are hidden from the model (None: the whole
    image), the superclass noun. `objects`: masks of the causal parts, where the loss has full weight (none: full weight
    in the whole region)."""

    label: int
    images: Sequence[Image]
    masks: Sequence[Mask | None]
    phrase: str
    seed: int
    objects: Sequence[Mask | None] = ()


@dataclass(frozen=True)
class Learned:
    """A token: its name in prompts, its file (diffusers format), the held-out loss at every check."""

    token: str
    file: Path
    losses: list[float] = field(default_factory=list)


class Detector(Protocol):
    """Finds boxes, for a segmenter that makes masks in them."""

    def detect(self, images: Sequence[Image], phrase: str) -> list[Detected | Failed]:
        """One result per image, in order; result n depends on image n alone."""
        ...


class Segmenter(Protocol):
    """Finds the causal part."""

    @property
    def identity(self) -> str:
        """Backend and identity of its weights, for fingerprints."""
        ...

    def segment(
        self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
    ) -> list[Found | Failed]:
        """One result per image, in order, computed in batches of exactly `batch_size`; result n depends on image n and
        the batch size alone. `ids`: ids of the images, by which given masks find their files."""
        ...


class Generator(Protocol):
    """Paints counterfactuals, in three phases: the first and the last use no model and may run in other threads, for
    other batches, while `paint` runs. `wants_donor`: whether tasks need a `donor`."""

    @property
    def identity(self) -> str:
        """Identity of its weights, for fingerprints."""
        ...

    @property
    def wants_donor(self) -> bool: ...

    def prepare(self, tasks: Sequence[Task | Failed]) -> Any:
        """The input of `paint`."""
        ...

    def paint(self, prepared: Any, batch_size: int) -> Any:
        """The input of `finish`; computed in batches of exactly `batch_size`. A device may still compute it."""
        ...

    def finish(self, painted: Any) -> list[Painted | Failed]:
        """One result per task, in order; result n depends on task n and the batch size alone."""
        ...


def paint_all(generator: Generator, tasks: Sequence[Task | Failed], batch_size: int) -> list[Painted | Failed]:
    """One result per task, in order: the phases of `generator` one after another."""
    return generator.finish(generator.paint(generator.prepare(tasks), batch_size))


class Inverter(Protocol):
    """Learns tokens from images, for a generator with the same weights. The model is not changed: a generator is opened
    with the token's file."""

    def learn(self, lesson: Lesson, folder: Path) -> Learned:
        """Learn a token and write it under `folder`."""
        ...

    def adopt(self, label: int, file: Path, folder: Path) -> Learned:
        """Take the token of a class from a file made elsewhere, and write it under `folder` as `learn` does."""
        ...
