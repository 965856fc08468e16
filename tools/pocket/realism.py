"""How close a run's counterfactuals are to true ones: the object's size, and the distance in the oracle's features.

The renderer draws every source's scene again with an object of the intended class (`ddb.pocket.datasets.oracle`),
twice. Sizes are the segmenter's masks on both, so that its own bias cancels. The Fréchet distance is that of Gaussians
with the features' means and covariances; beside it stands that of the two sets of true ones: what it gives when nothing
is wrong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from oracle import as_input
from scipy import linalg
from torch import nn

from ddb.backends import Found, Segmenter
from ddb.learn.seeds import seed_of
from ddb.pocket.datasets import oracle as true_counterfactual
from ddb.pocket.datasets import read_scenes
from ddb.pocket.world import FAMILIES

COUNT = 250
"""Counterfactuals of each direction, the first ones of the table."""
Pixels = npt.NDArray[np.uint8]


def realism_figures(
    family: str, segmenter: Segmenter, model: nn.Module, root: Path, rows: list[dict], painted: Pixels
) -> dict[str, float]:
    """Per direction: median pixels of the painted object and of the true one, Fréchet distance and its floor.

    `rows`: counterfactuals with `source` (path of the source in `root`) and `to_label`; `painted`: their images, uint8
    [N, 64, 64, 3]."""
    scenes = read_scenes(root)
    figures = {}
    for label, plan in enumerate(FAMILIES[family].plans):
        chosen = [i for i, row in enumerate(rows) if row["to_label"] == label][:COUNT]
        if not chosen:
            continue
        names = [rows[i]["source"] for i in chosen]
        first, second = (
            np.stack([true_counterfactual(scenes[name], plan, seed_of(7, name, label, copy)).image for name in names])
            for copy in (0, 1)
        )
        figures[f"object_pixels_to_{label}"] = _median_size(segmenter, painted[chosen], FAMILIES[family].noun)
        figures[f"object_pixels_true_{label}"] = _median_size(segmenter, first, FAMILIES[family].noun)
        figures[f"frechet_to_{label}"] = frechet(_features(model, painted[chosen]), _features(model, first))
        figures[f"frechet_floor_{label}"] = frechet(_features(model, second), _features(model, first))
    return figures


def frechet(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Squared Fréchet distance of Gaussians with the means and covariances of features [N, D] and [M, D]."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(cov_a @ cov_b).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root))


def _median_size(segmenter: Segmenter, images: Pixels, noun: str) -> float:
    names = [str(i) for i in range(len(images))]
    found = segmenter.segment(names, list(images), noun, 16)
    return float(np.median([one.mask.sum() for one in found if isinstance(one, Found)]))


@torch.no_grad()
def _features(model: nn.Module, images: Pixels) -> npt.NDArray[np.float64]:
    """What the oracle's last layer sees: float64 [N, D]."""
    parts = [as_input(images[i : i + 250]) for i in range(0, len(images), 250)]
    seen = [model.forward_head(model.forward_features(x), pre_logits=True) for x in parts]  # type: ignore[operator]
    return torch.cat(seen).double().numpy()
