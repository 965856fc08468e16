"""Attribution of a classifier's output to pixels: integrated gradients (Sundararajan et al. 2017), and the closed form
of their sum.

Completeness: over all pixels, the attributions of the straight path from a to b sum to f(b) - f(a), exactly. Where b
equals a outside a region, the attributions outside are 0, so the sum inside the region is f(b) - f(a) as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddb.data.images import png_bytes
from ddb.learn.classifier import Classifier, Pixels, to_tensor
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize, batches
from ddb.learn.predict import Floats, filled_up, softmax

Masks = npt.NDArray[np.bool_]
"""[N, S, S]"""


def output_change(
    before: npt.NDArray[np.floating], after: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], output: str
) -> npt.NDArray[np.float64]:
    """f(after) - f(before) of each row's label: [N], from logits [N, K]. `output`: "logit" or "probability"."""
    rows = np.arange(len(labels))
    if output == "probability":
        before, after = softmax(before), softmax(after)
    change: npt.NDArray[np.float64] = after[rows, labels].astype(np.float64) - before[rows, labels]
    return change


@dataclass(frozen=True)
class Integral:
    """How gradients are integrated: Gauss-Legendre quadrature with `steps` points, in batches of `batch.size` images.
    `output`: "logit", "probability", or "margin" (the label's logit minus the mean of the others, which a common shift
    of all logits leaves unchanged)."""

    steps: int
    output: str
    batch: BatchSize


def integrated_gradients(
    classifier: Classifier,
    baselines: Pixels,
    images: Pixels,
    labels: npt.NDArray[np.integer],
    runtime: Runtime,
    integral: Integral,
) -> Floats:
    """Attributions float32 [N, S, S] (summed over colours) of the outputs `labels` [N] along the straight path from
    `baselines` to `images`, uint8 [N, S, S, 3] each. The model is left in eval mode, its parameters without gradients.

    Every batch has exactly `integral.batch.size` images, the last filled up with blanks: an image's attributions do not
    depend on the others. A batch that does not fit into memory is halved; OutOfMemory where one image does not fit.
    A row may hold NaN or infinity where the model gives that (`learn.finite`).
    """
    model = classifier.on(runtime.device).eval().requires_grad_(False)
    wanted = np.asarray(labels, np.int64)
    nodes, weights = np.polynomial.legendre.leggauss(integral.steps)  # on [-1, 1]

    def work(rows: Sequence[int]) -> Floats:
        own, size = slice(rows[0], rows[-1] + 1), integral.batch.size
        start, end = (
            classifier.normalise(to_tensor(filled_up(pixels[own], size), runtime.device))
            for pixels in (baselines, images)
        )
        step, target = end - start, torch.from_numpy(filled_up(wanted[own], size)).to(runtime.device)
        total = torch.zeros_like(step)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            point = (start + step * ((node + 1) / 2)).requires_grad_(True)
            with runtime.autocast():
                value = _output(model(point).float(), target, integral.output)
                (gradient,) = torch.autograd.grad(value.sum(), point)
            total += gradient * (weight / 2)
        attributions: Floats = (total * step).sum(dim=1)[: len(rows)].cpu().numpy()
        return attributions

    return np.concatenate(list(batches(work, range(len(wanted)), integral.batch)))


def _output(logits: Tensor, labels: Tensor, output: str) -> Tensor:
    own = logits.gather(1, labels[:, None])[:, 0]
    if output == "probability":
        return logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    if output == "margin":
        return own - (logits.sum(dim=1) - own) / (logits.shape[1] - 1)
    return own


def map_png(attributions: npt.NDArray[np.floating]) -> bytes:
    """|attribution| [S, S] as a grey PNG, its largest value 255."""
    size = np.abs(attributions)
    return png_bytes(np.rint(size * (255 / max(float(size.max()), 1e-12))).astype(np.uint8))


def share_outside(attributions: Floats, masks: Masks) -> npt.NDArray[np.float64]:
    """Share of |attribution| that lies outside each mask: [N], in [0, 1]; 0 where there is no attribution at all."""
    size = np.abs(attributions).astype(np.float64)
    total = size.sum(axis=(1, 2))
    outside: npt.NDArray[np.float64] = (size * ~masks).sum(axis=(1, 2))
    return outside / np.where(total > 0, total, 1)
