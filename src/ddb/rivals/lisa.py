"""LISA (Yao et al., ICML 2022, section 3; code: huaxiuyao/LISA, subpopulation_shifts/train.py).

Each step draws equally many images of every group. With probability p_sel it mixes pairs of one label and two
attributes (intra-label), else pairs of one attribute and two labels (intra-domain). Only mixed images are trained on.
- mixup: pixels and labels are mixed; one share per pair, from Beta(2, 2).
- CutMix: one box for two batches, from Beta(0.2, 0.2) (a separate flag in the code, which does not use mix_alpha here);
  each batch gets the other's box, and the share of the own label is the area outside the box.
With more than two labels or attributes, the two that are mixed are drawn for every step.

An epoch of the code ends when the smallest group is used up (4 steps on Waterbirds, so its 300 epochs are 1200 steps).
Here an epoch has as many steps as ERM's, each with as many mixed images as ERM's batch (the code: 32; with CutMix 64).
`pairs: labels` follows the code's MetaShift run: halves of a batch of one label are mixed, whatever their attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from ddb.errors import ConfigError
from ddb.learn.training.batches import Batch, Plan, Rows, numpy_generator, rounds
from ddb.learn.training.fit import Material
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import known, train

Pair = tuple[int, int]


class LISASettings(TrainingSettings):
    mix: Literal["mixup", "cutmix"] = Field(
        "mixup", description="how pairs are mixed (mixup on Waterbirds; cutmix on CelebA and MetaShift: README)"
    )
    p_sel: float = Field(0.5, ge=0, le=1, description="probability of intra-label pairs in a step (mix_ratio 0.5)")
    alpha: float = Field(2.0, gt=0, description="of mixup's Beta(alpha, alpha) (mix_alpha 2)")
    cutmix_alpha: float = Field(0.2, gt=0, description="of CutMix's Beta(alpha, alpha) (the code's --alpha: 0.2)")
    pairs: Literal["groups", "labels"] = Field(
        "groups", description="pairs of groups (paper), or of any two images of a label (code's MetaShift run)"
    )


def group_pairs(labels: int, attributes: int, intra_label: bool, rng: np.random.Generator) -> list[Pair]:
    """The pairs of groups (label * attributes + attribute) that are mixed in a step: for every label two random
    attributes (`intra_label`), or for every attribute two random labels; the lower first."""
    if intra_label:
        chosen = [sorted(rng.choice(attributes, 2, replace=False)) for _ in range(labels)]
        return [(y * attributes + int(a), y * attributes + int(b)) for y, (a, b) in enumerate(chosen)]
    chosen = [sorted(rng.choice(labels, 2, replace=False)) for _ in range(attributes)]
    return [(int(a) * attributes + d, int(b) * attributes + d) for d, (a, b) in enumerate(chosen)]


def mixup_pair(first: Rows, second: Rows, alpha: float, rng: np.random.Generator) -> Batch:
    """Row i of `first` mixed with row i of `second`; a share is drawn for each pair."""
    return Batch(first, partners=second, share=rng.beta(alpha, alpha, len(first)).astype(np.float32))


def cutmix_pair(first: Rows, second: Rows, alpha: float, side: int, rng: np.random.Generator) -> Batch:
    """Row i of `first` with the box of row i of `second`, and the reverse: twice as many images as pairs, one box for
    all."""
    box = random_box(rng.beta(alpha, alpha), side, rng)
    area = (box[2] - box[0]) * (box[3] - box[1])
    count = 2 * len(first)
    return Batch(
        np.concatenate([first, second]),
        partners=np.concatenate([second, first]),
        share=np.full(count, 1 - area / side**2, np.float32),
        boxes=np.tile(box, (count, 1)),
    )


def random_box(share: float, side: int, rng: np.random.Generator) -> Rows:
    """int64 (top, left, bottom, right): a box of about 1 - `share` of the image's area around a random point, clipped
    at the border (the code's rand_bbox, after Yun et al. 2019)."""
    half = int(side * np.sqrt(1 - share)) // 2
    centre = rng.integers(0, side, 2)
    return np.concatenate([np.clip(centre - half, 0, side), np.clip(centre + half, 0, side)])


def merged(batches: list[Batch]) -> Batch:
    """The concatenation of mixed batches, all with boxes or all without."""
    boxes = [batch.boxes for batch in batches if batch.boxes is not None]
    return Batch(
        np.concatenate([batch.rows for batch in batches]),
        partners=np.concatenate([batch.partners for batch in batches if batch.partners is not None]),
        share=np.concatenate([batch.share for batch in batches if batch.share is not None]),
        boxes=np.concatenate(boxes) if boxes else None,
    )


def selective(pools: list[Rows], shape: tuple[int, int], batch_size: int, side: int, settings: LISASettings) -> Plan:
    """A plan of mixed pairs. `pools`: the rows of every group or of every label, by the setting `pairs`; `shape`:
    numbers of labels and attributes; `side`: of an image, pixels. ConfigError where pairs cannot be formed (one
    attribute: no pairs of one label; one label: no pairs of one attribute) or a group (or label) has no images."""
    by_label = settings.pairs == "labels"
    _require_pairs(pools, shape, settings)
    halves = (shape[0] if by_label else min(shape)) * (2 if settings.mix == "cutmix" else 1)
    size = max(1, batch_size // halves)
    steps = max(1, sum(len(rows) for rows in pools) // batch_size)

    def plan(generator: torch.Generator, _classifier: object) -> list[Batch]:
        rng = numpy_generator(generator)
        queues = [_queue(rows, 2 * size if by_label else size, steps, generator) for rows in pools]
        batches = []
        for taken in zip(*queues, strict=True):
            if by_label:
                pairs = [(rows[:size], rows[size:]) for rows in taken]
            else:
                intra_label = bool(rng.random() < settings.p_sel)
                pairs = [(taken[a], taken[b]) for a, b in group_pairs(*shape, intra_label, rng)]
            batches.append(merged([_mixed_pair(first, second, side, settings, rng) for first, second in pairs]))
        return batches

    return plan


def _require_pairs(pools: list[Rows], shape: tuple[int, int], settings: LISASettings) -> None:
    labels, attributes = shape
    empty = [number for number, rows in enumerate(pools) if not len(rows)]
    if empty:
        kind = "label" if settings.pairs == "labels" else "group"
        raise ConfigError(f"LISA: {kind} {empty[0]} has no training image; it pairs images of every {kind}.")
    if settings.pairs == "labels":
        return
    if attributes < 2 and settings.p_sel > 0:
        raise ConfigError(
            f"LISA: the training images have {attributes} attribute value, and pairs of one label need two. Set p_sel "
            "to 0 (pairs of one attribute alone) or pairs to labels, or leave this method out."
        )
    if labels < 2 and settings.p_sel < 1:
        raise ConfigError("LISA: pairs of one attribute need two labels; set p_sel to 1.")


def _mixed_pair(first: Rows, second: Rows, side: int, settings: LISASettings, rng: np.random.Generator) -> Batch:
    if settings.mix == "mixup":
        return mixup_pair(first, second, settings.alpha, rng)
    return cutmix_pair(first, second, settings.cutmix_alpha, side, rng)


def _queue(rows: Rows, size: int, steps: int, generator: torch.Generator) -> Iterator[Rows]:
    """`steps` arrays of `size` of the rows, in which all rows occur equally often."""
    order = rows[rounds(len(rows), steps * size, generator)]
    return iter(order.reshape(steps, size))


def fit_lisa(problem: Problem, settings: LISASettings) -> Fitted:
    shape = (len(problem.classes), len(problem.attributes))
    cells = known(problem.train_groups) if settings.pairs == "groups" else problem.train.labels
    pools = [
        np.flatnonzero(cells == cell) for cell in range(shape[0] * (shape[1] if settings.pairs == "groups" else 1))
    ]
    plan = selective(pools, shape, problem.fit.batch_size, problem.train.pixels.shape[1], settings)
    material = Material(problem.train, validate=problem.validate(), plan=plan)
    return train(problem, problem.start(), material, settings.budget(problem.fit))


RIVAL = Rival(
    name="lisa",
    title="LISA",
    uses=frozenset({"train_groups", "val_groups"}),
    settings=LISASettings,
    grid=({}, {"mix": "cutmix"}, {"p_sel": 0.1}, {"p_sel": 0.9}),
    fit=fit_lisa,
)
