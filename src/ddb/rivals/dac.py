"""Decompose-and-Compose (Noohdani et al., CVPR 2024; code: fhn98/DaC).

1. Adaptive masks of all training images from the ERM model's class activation maps (`dac_masks`).
2. The last layer of the ERM model is initialised again and trained alone. In every batch, S are the images whose ERM
   loss is at most the `quantile` of all training losses. The loss is
   CE(batch) + alpha CE(masked S) + alpha CE(fused S), with m a mean colour,
   masked_i = x_i M_i + (1 - M_i) m and fused_i = x_i M_i + (1 - M_i) ((1 - M_j) x_j + M_j m), label y_i, where j is
   drawn from the images of another class in S (of S where it holds one class).

Where this differs from the code: m is the mean colour of all training images, not of the batch, so that a step does not
depend on the number of processes; the backbone is in eval mode (`norm: train`: as in the code, whose running statistics
are then updated on the composed images); there is no augmentation, as in the code on Waterbirds and MetaShift (on
CelebA the code crops and mirrors the images but not their masks); the learning rate follows a cosine instead of halving
every 5 of 20 epochs; an incomplete last batch is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from ddb.config import Augment, FitConfig
from ddb.learn import processes
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.predict import cross_entropy
from ddb.learn.seeds import seed_of
from ddb.learn.training.batches import Batch, passes
from ddb.learn.training.fit import Images, Material
from ddb.learn.training.joined import joined
from ddb.rivals import Fitted, Problem, Rival, Settings
from ddb.rivals.dac_masks import adaptive_masks
from ddb.rivals.head import head_of
from ddb.rivals.last_layer import features_of, key, weights_hash
from ddb.rivals.training import train

Rows = npt.NDArray[np.int64]


class DacSettings(Settings):
    alpha: float = Field(10.0, ge=0, description="weight of composed images (README: Waterbirds 10; code default 6)")
    quantile: float = Field(
        0.6,
        gt=0,
        le=1,
        description="share of training images, easiest first, that are composed (README: Waterbirds 0.6; 0.8)",
    )
    invert_mask: bool = Field(False, description="swap the parts, where ERM attends to the spurious one (paper 4.1)")
    lr: float = Field(5e-3, gt=0, description="Adam's learning rate of the last layer (README)")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="README: halved every 5 of 20 epochs")
    norm: Literal["frozen", "train"] = Field("frozen", description="normalisation layers; train: as the code does")


def fit_dac(problem: Problem, settings: DacSettings) -> Fitted:
    """Masks, computed once for all settings, then the last layer."""
    loaded = problem.erm()
    losses = cross_entropy(
        head_of(loaded.classifier).logits(features_of(problem, loaded.classifier, "train")), problem.train.labels
    )
    masks = _stored_masks(problem, loaded.classifier)
    colour = _mean_colour(problem.train.pixels, problem.batch)
    _draw_head(loaded.classifier, seed_of(problem.seed, "dac", "head"))
    composer = Composer(
        problem.train.labels,
        losses <= np.quantile(losses, settings.quantile),
        masks,
        colour,
        settings,
        problem.fit.batch_size,
    )
    blank = np.broadcast_to(colour, (1, *problem.train.pixels.shape[1:]))
    material = Material(
        Images(joined(problem.train.pixels, blank), problem.train.labels),
        validate=problem.validate(),
        last_layer_only=True,
        plan=composer.plan,
        mixer=composer.compose,
    )
    own = replace(problem, folder=problem.folder / key(settings, problem.fit))
    facts = {"mean_mask": float(np.mean(_shares(masks)))}
    return train(own, loaded, material, _budget(problem, settings), "dac", facts)


@dataclass(frozen=True)
class Composer:
    """Composes the images of each step. `easy` bool [N]: membership in S; `masks`: packed bits [N, S, S / 8]; `colour`
    uint8 [3]: m.

    Row N of the images is blank: m everywhere, with an empty mask. An image fused with the blank one is masked; fused
    with itself it is unchanged.
    """

    labels: Rows
    easy: npt.NDArray[np.bool_]
    masks: npt.NDArray[np.uint8]
    colour: npt.NDArray[np.uint8]
    settings: DacSettings
    batch_size: int

    def plan(self, generator: torch.Generator, classifier: Classifier) -> list[Batch]:
        """Steps of the batch's images, S masked and S fused; with their weights the mean of all losses is the sum
        CE(batch) + alpha CE(masked S) + alpha CE(fused S)."""
        classifier.model.train(self.settings.norm == "train")
        blank = len(self.labels)
        steps = []
        for batch in passes(np.arange(blank), self.batch_size, generator):
            chosen = batch.rows[self.easy[batch.rows]]
            rows = np.concatenate([batch.rows, chosen, chosen])
            partners = np.concatenate([batch.rows, np.full(len(chosen), blank), self.strangers(chosen, generator)])
            scale = np.full(len(rows), len(rows) / len(batch.rows), np.float32)
            if len(chosen):
                scale[len(batch.rows) :] = self.settings.alpha * len(rows) / len(chosen)
            steps.append(Batch(rows, scale, partners, own_labels=True))
        return steps

    def strangers(self, rows: Rows, generator: torch.Generator) -> Rows:
        """For each of `rows` a row of another class among them, drawn with replacement; a permutation of `rows` where
        all have one class."""
        labels = self.labels[rows]
        if len(np.unique(labels)) < 2:
            order: Rows = torch.randperm(len(rows), generator=generator).numpy()
            return np.take(rows, order)
        draws = torch.rand(len(rows), generator=generator).numpy()
        others = {label: rows[labels != label] for label in np.unique(labels)}
        return np.array([others[k][int(u * len(others[k]))] for k, u in zip(labels, draws, strict=True)], np.int64)

    def compose(self, images: Tensor, partners: Tensor, batch: Batch) -> Tensor:
        """x_i M_i + (1 - M_i) ((1 - M_j) x_j + M_j m): float [B, 3, S, S] in 0-255."""
        assert batch.partners is not None
        own, other = self._masks(batch.rows, images), self._masks(batch.partners, images)
        colour = torch.from_numpy(self.colour).to(images).view(3, 1, 1)
        return torch.where(own, images, torch.where(other, colour, partners))

    def _masks(self, rows: Rows, like: Tensor) -> Tensor:
        """bool [B, 1, S, S]; the blank image's is empty."""
        side = like.shape[3]
        bits = np.unpackbits(self.masks[np.minimum(rows, len(self.masks) - 1)], axis=2, count=side).astype(bool)
        bits = (bits != self.settings.invert_mask) & (rows < len(self.masks))[:, None, None]
        return torch.from_numpy(bits[:, None]).to(like.device)


def _budget(problem: Problem, settings: DacSettings) -> FitConfig:
    """The shared epochs and batch size; Adam (AdamW without decay) and no augmentation."""
    own = {"optimiser": "adamw", "weight_decay": 0.0, "lr": settings.lr, "schedule": settings.schedule}
    plain = Augment(scale=(1.0, 1.0), flip=False)
    return problem.fit.model_copy(update=own | {"augment": plain})


def _draw_head(classifier: Classifier, seed: int) -> None:
    """Initialise the last layer again: Xavier-uniform weights, bias 0 (the code's utils.weight_init)."""
    layer = cast(nn.Linear, classifier.head)
    fresh = nn.init.xavier_uniform_(torch.empty(layer.weight.shape), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        layer.weight.copy_(fresh)
        layer.bias.zero_()


def _stored_masks(problem: Problem, classifier: Classifier) -> npt.NDArray[np.uint8]:
    """The training images' masks as packed bits [N, S, ceil(S / 8)], memory mapped from the problem's folder."""
    path = problem.folder / f"masks-{weights_hash(classifier)}-{len(problem.train.labels)}.npy"
    with processes.leader_first():
        if not path.exists():
            _write_masks(path, problem, classifier)
    masks: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return masks


def _write_masks(path: Path, problem: Problem, classifier: Classifier) -> None:
    pixels, labels = problem.train.pixels, problem.train.labels
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    shape = (*pixels.shape[:2], -(-pixels.shape[2] // 8))
    packed = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
    for start in range(0, len(labels), problem.batch):
        rows = slice(start, start + problem.batch)
        found = adaptive_masks(classifier, pixels[rows], labels[rows], problem.runtime.exact(), problem.batch)
        packed[rows] = np.packbits(found, axis=2)
    packed.flush()
    temporary.replace(path)


def _shares(masks: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Share of masked pixels of every image: [N], in [0, 1]. The padding bits after the last column are 0."""
    shares: npt.NDArray[np.float64] = np.bitwise_count(masks).sum(axis=(1, 2)) / masks.shape[1] ** 2
    return shares


def _mean_colour(pixels: Pixels, batch: int) -> npt.NDArray[np.uint8]:
    """Mean colour of all images: uint8 [3]; pixels are read `batch` images at a time."""
    sums = [pixels[start : start + batch].mean(axis=(1, 2)).sum(axis=0) for start in range(0, len(pixels), batch)]
    colour: npt.NDArray[np.uint8] = (np.sum(sums, axis=0) / len(pixels)).round().astype(np.uint8)
    return colour


RIVAL = Rival(
    name="dac",
    title="DaC",
    uses=frozenset({"val_groups"}),
    settings=DacSettings,
    grid=(
        {},
        {"alpha": 6.0, "quantile": 0.8},
        {"invert_mask": True},
        {"alpha": 6.0, "quantile": 0.8, "invert_mask": True},
    ),
    fit=fit_dac,
)
