"""Selection of samples: majority, representatives, target classes and budgets (method sections 2, 3 and 8).

All functions read the ERM predictions (records.PREDICTIONS), which hold no attributes. Samples are ranked by loss; ties
keep the order of the table. (Selection of epochs: `learn.validation`.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb.errors import ConfigError

Direction = tuple[int, int]
"""(from_label, to_label)"""


def majority(predictions: pa.Table, label: int, count: int) -> list[str]:
    """Ids of the `count` training samples of a class with the lowest loss, lowest first (paper section 2)."""
    ids, losses = _training_losses(predictions, label)
    return [ids[i] for i in np.argsort(losses, kind="stable")[:count]]


def representatives(predictions: pa.Table, label: int, count: int, noise_quantile: float) -> list[str]:
    """Ids of the `count` training samples of a class with the highest loss, highest first.

    The share `noise_quantile` of the class with the highest losses is skipped, since wrong labels are common there.
    """
    ids, losses = _training_losses(predictions, label)
    skip = int(noise_quantile * len(ids))
    return [ids[i] for i in np.argsort(-losses, kind="stable")[skip : skip + count]]


def mean_probabilities(predictions: pa.Table) -> dict[int, float]:
    """Psi_i: mean probability of class i over the training samples of class i (method section 1)."""
    train = _split(predictions, "train")
    labels, probabilities = _labels(train), _probabilities(train)
    return {int(k): float(probabilities[labels == k, k].astype(np.float64).mean()) for k in np.unique(labels)}


def targets(predictions: pa.Table, label: int, classes: int, count: int | None = None) -> list[int]:
    """The `count` classes that validation samples of `label` are most confused with, most confused first. Default: 1
    with two classes, else 2."""
    share = confusion(predictions, label, classes)
    others = [k for k in np.argsort(-share, kind="stable").tolist() if k != label]
    return others[: count or (1 if classes == 2 else 2)]


def confusion(predictions: pa.Table, label: int, classes: int) -> npt.NDArray[np.float64]:
    """Mean predicted probability of every class over the validation samples of class `label` (without any: over its
    training samples): float64 [K]."""
    for split in ("val", "train"):
        rows = _split(predictions, split)
        inside = _labels(rows) == label
        if inside.any():
            share: npt.NDArray[np.float64] = _probabilities(rows)[inside].astype(np.float64).mean(axis=0)
            return share
    return np.full(classes, 1.0 / classes)


PerClass = int | Sequence[int] | None
"""config.inpaint.per_class: number of counterfactuals from every class, from each class in turn, or None: by the sizes
of the classes (`budgets`)."""


def budgets(predictions: pa.Table, classes: int, per_class: PerClass) -> dict[Direction, int]:
    """Counterfactuals to make in every direction. ConfigError for a list of another length than `classes`.

    From each class `per_class` counterfactuals are made (default: its size; never more than its size), split over its
    targets in proportion to the confusion. Without `per_class` the number made into a class does not exceed that
    class's size either: with two classes A->B gets min(n_A, n_B).
    """
    sizes = np.bincount(_labels(_split(predictions, "train")), minlength=classes)
    asked = sizes if per_class is None else counts(per_class, classes)
    wanted: dict[Direction, float] = {}
    for label in range(classes):
        chosen = targets(predictions, label, classes)
        share = confusion(predictions, label, classes)[chosen] + 1e-9
        given = min(asked[label], sizes[label])
        wanted |= {(label, to): given * s for to, s in zip(chosen, share / share.sum(), strict=True)}
    scale = _inbound_scale(wanted, sizes) if per_class is None else {}
    return {(i, j): int(n * scale.get(j, 1.0) + 0.5) for (i, j), n in wanted.items()}


def counts(per_class: int | Sequence[int], classes: int) -> Sequence[int]:
    """Number of counterfactuals from each class. ConfigError for a list of another length than `classes`."""
    if isinstance(per_class, int):
        return [per_class] * classes
    if len(per_class) != classes:
        raise ConfigError(
            f"inpaint.per_class: {len(per_class)} numbers for {classes} classes; give one for each class."
        )
    return per_class


def loss_weights(gammas: Sequence[float], classes: int) -> Sequence[float]:
    """Weight gamma_c of each class's counterfactual loss. ConfigError for a list of another length than `classes`,
    unless all its weights are equal."""
    if len(gammas) == classes:
        return gammas
    if len(set(gammas)) == 1:
        return [gammas[0]] * classes
    raise ConfigError(f"retrain.gammas: {len(gammas)} weights for {classes} classes; give one for each class.")


def _inbound_scale(wanted: Mapping[Direction, float], sizes: npt.NDArray[np.integer]) -> dict[int, float]:
    """Factor by which the budgets into each class shrink so that they do not exceed the class's own size."""
    inbound: dict[int, float] = {}
    for (_, to), n in wanted.items():
        inbound[to] = inbound.get(to, 0.0) + n
    return {to: min(1.0, float(sizes[to]) / n) for to, n in inbound.items() if n > 0}


def _training_losses(predictions: pa.Table, label: int) -> tuple[list[str], npt.NDArray[np.float32]]:
    train = _split(predictions, "train")
    rows = train.filter(pc.equal(train["label"], label))
    return rows["id"].to_pylist(), rows["loss"].to_numpy()


def _split(predictions: pa.Table, split: str) -> pa.Table:
    usable = pc.and_(pc.equal(predictions["split"], split), pc.equal(predictions["status"], "ok"))
    return predictions.filter(usable)


def _labels(rows: pa.Table) -> npt.NDArray[np.int32]:
    labels: npt.NDArray[np.int32] = rows["label"].to_numpy()
    return labels


def _probabilities(rows: pa.Table) -> npt.NDArray[np.float32]:
    flat: npt.NDArray[np.float32] = rows["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(rows), -1)
