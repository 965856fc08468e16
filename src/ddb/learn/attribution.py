"""Attribution of a classifier's output to pixels: integrated gradients (Sundararajan et al. 2017), and the closed form
of their sum.

Completeness: over all pixels, the attributions of the straight path from a to b sum to f(b) - f(a), exactly. Where b
equals a outside a region, the attributions outside are 0, so the sum inside the region is f(b) - f(a) as well.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddb.learn.classifier import Classifier, Pixels, to_tensor
from ddb.learn.device import Runtime
from ddb.learn.predict import Floats, softmax

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


def integrated_gradients(
    classifier: Classifier,
    baselines: Pixels,
    images: Pixels,
    labels: npt.NDArray[np.integer],
    runtime: Runtime,
    steps: int,
    output: str,
) -> Floats:
    """Attributions [N, S, S] (summed over colours) of output `labels` along the path from `baselines` to `images`.

    Gauss-Legendre quadrature with `steps` points. `output`: "logit", "probability", or "margin" (the label's logit
    minus the mean of the others, unmoved where all logits move together). Pixels are uint8 [N, S, S, 3].
    """
    model = classifier.on(runtime.device).eval().requires_grad_(False)
    start = classifier.normalise(to_tensor(baselines, runtime.device))
    step = classifier.normalise(to_tensor(images, runtime.device)) - start
    wanted = torch.from_numpy(np.asarray(labels, np.int64)).to(runtime.device)
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    total = torch.zeros_like(step)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        point = (start + step * ((node + 1) / 2)).requires_grad_(True)
        with runtime.autocast():
            value = _output(model(point).float(), wanted, output)
        (gradient,) = torch.autograd.grad(value.sum(), point)
        total += gradient * (weight / 2)
    attributions: Floats = (total * step).sum(dim=1).cpu().numpy()
    return attributions


def _output(logits: Tensor, labels: Tensor, output: str) -> Tensor:
    own = logits.gather(1, labels[:, None])[:, 0]
    if output == "probability":
        return logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    if output == "margin":
        return own - (logits.sum(dim=1) - own) / (logits.shape[1] - 1)
    return own


def share_outside(attributions: Floats, masks: Masks) -> npt.NDArray[np.float64]:
    """Share of |attribution| that lies outside each mask: [N], in [0, 1]; 0 where there is no attribution at all."""
    size = np.abs(attributions).astype(np.float64)
    total = size.sum(axis=(1, 2))
    outside: npt.NDArray[np.float64] = (size * ~masks).sum(axis=(1, 2))
    return outside / np.where(total > 0, total, 1)
