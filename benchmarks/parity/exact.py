"""The same numbers into the core functions of both sides: how far apart is what comes out?

    python -m benchmarks.parity.exact --sources DIR --out DIR

Worst-group accuracies agree within the luck of seeds; this has no luck in it. Random draws are the same on both sides
where a function draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.parity import afr, lisa, spuco, subpopbench
from benchmarks.parity.exact_training import afr_training, apart, spuco_training
from benchmarks.parity.ground import Ground
from benchmarks.parity.handed import hand
from benchmarks.parity.sample import D, N, Sample
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from ddb.learn.training.batches import mixed
from ddb.learn.training.fit import Objective
from ddb.learn.training.group_dro import GroupDRO
from ddb.rivals.afr import Weighted, afr_weights, descend
from ddb.rivals.cvar_dro import CVaR
from ddb.rivals.dfr_regression import Grouped, Regression, averaged_head
from ddb.rivals.head import Head
from ddb.rivals.lff import RelativeDifficulty
from ddb.rivals.lisa import cutmix_pair
from ddb.rivals.reweight import group_weights


def afr_descent(sample: Sample) -> float:
    """AFR: weights, then the head after 500 clipped steps with a penalty."""
    import losses
    from utils.supervised_utils import get_last_layer_model, normalize_weights, rebalance_weights, take_step

    rng = np.random.default_rng(1)
    start = Head(rng.normal(size=(2, D)), rng.normal(size=2))
    features, labels = torch.from_numpy(sample.features), torch.from_numpy(sample.labels)
    initial = torch.from_numpy(start.weight), torch.from_numpy(start.bias)
    layer = get_last_layer_model(initial)
    weights = losses.get_exp_weights(layer(features).detach(), labels, gamma=10.0)
    weights = normalize_weights(rebalance_weights(weights, labels))
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(500):
        take_step(layer, (features, labels, weights), optimiser, losses.afr(), None, initial, 0.1, max_norm=1.0)
    sure = torch.softmax(torch.from_numpy(start.logits(sample.features)), 1).numpy()[np.arange(N), sample.labels]
    own = afr_weights(sure, sample.labels, 10.0)
    *_, head = descend(start, Weighted(sample.features, sample.labels, own), 0.1, 0.01, 500)
    return max(apart(layer.weight, head.weight), apart(layer.bias, head.bias), apart(weights, own))


def lisa_cutmix(sample: Sample) -> float:
    """LISA: pixels and labels of CutMix pairs, the same centre and share drawn."""
    import train as public

    rng, worst = np.random.default_rng(2), 0.0
    images = torch.rand(16, 3, 64, 64)
    hot = F.one_hot(torch.tensor([0] * 8 + [1] * 8), 2).float()
    for share, centre in (
        (0.7, (20, 50)),
        (0.02, (5, 60)),
        (0.98, (0, 0)),
        *((rng.beta(0.2, 0.2), rng.integers(0, 64, 2)) for _ in range(20)),
    ):
        drawn = iter(centre)
        with (
            mock.patch("numpy.random.beta", return_value=share),
            mock.patch("numpy.random.randint", lambda *_, d=drawn: next(d)),
        ):
            pixels, labels = public.cut_mix_up(
                SimpleNamespace(alpha=0.2), images[:8].clone(), images[8:].clone(), hot[:8], hot[8:]
            )
        draws: Any = SimpleNamespace(beta=lambda *_, s=share: s, integers=lambda *_, c=centre: np.array(c))
        batch = cutmix_pair(np.arange(8), np.arange(8, 16), 0.2, 64, draws)
        own = torch.from_numpy(batch.share)[:, None]
        worst = max(worst, apart(pixels, mixed(images, images[batch.partners], batch)))
        worst = max(worst, apart(labels, own * hot + (1 - own) * hot[batch.partners]))
    return worst


def spuco_dro(sample: Sample) -> float:
    """SpuCo: GroupDRO's loss over 20 steps."""
    from spuco.robust_train.group_dro import GroupWeightedLoss

    public = GroupWeightedLoss(nn.CrossEntropyLoss(reduction="none"), num_groups=4, group_weight_lr=0.5)
    layer, worst = nn.Linear(D, 2), 0.0
    for rows, loss in _ours(sample, layer, GroupDRO(sample.groups, 0.5, 0.0)):
        features, labels, places = sample.tensors(rows)
        worst = max(worst, apart(public(layer(features), labels, 2 * labels + places), loss))
    return worst


def spuco_dfr(sample: Sample) -> float:
    """SpuCo: one regression of DFR on groups that are balanced already, so that no draw is left."""
    from spuco.last_layer_retrain import DFR

    rows = np.concatenate([np.flatnonzero(sample.groups == group)[:20] for group in range(4)])
    scaler = StandardScaler().fit(sample.features)
    features, labels, groups = sample.features[rows], sample.labels[rows], sample.groups[rows]
    coefficients, intercept = DFR.train_single_model(None, 0.3, scaler.transform(features), labels, groups, None)
    rng = np.random.default_rng(3)
    head = averaged_head(Grouped(features, labels, groups, 2), Regression(0.3), 1, scaler, rng)
    odds = (scaler.transform(sample.features) @ coefficients[0]) + intercept[0]
    own = head.logits(sample.features)
    return apart(torch.from_numpy(odds), own[:, 1] - own[:, 0])


def subpopbench_losses(
    name: str, hparams: dict[str, Any], own: Callable[[Sample], Objective]
) -> Callable[[Sample], float]:
    """SubpopBench: the loss of an algorithm over 20 steps, from the same layer."""

    def largest(sample: Sample) -> float:
        layer, worst = nn.Linear(D, 2), 0.0
        public = _algorithm(name, hparams, sample, layer)
        for rows, loss in _ours(sample, layer, own(sample)):
            worst = max(worst, apart(public._compute_loss(None, *sample.tensors(rows), 0), loss))
        return worst

    return largest


def subpopbench_lff(sample: Sample) -> float:
    """SubpopBench: both losses of LfF's equation in one step."""
    kept, biased = nn.Linear(D, 2), nn.Linear(D, 2)
    public = _algorithm("LfF", {"LfF_q": 0.7}, sample, kept, biased)
    rows = sample.batches[0]
    features, labels, places = sample.tensors(rows)
    logits = torch.stack([biased(features), kept(features)], dim=1).detach()
    values = torch.stack([F.cross_entropy(logits[:, model], labels, reduction="none") for model in range(2)], dim=1)
    weights = RelativeDifficulty(sample.labels, 0.7, 0.0, normalise=False).weigh(rows, logits, values)
    seen = public.update((None, features, labels, places), 0)
    return max(
        abs(seen[key] - float(loss))
        for key, loss in zip(("loss_gce", "loss_pred"), (weights * values).mean(dim=0), strict=True)
    )


def _algorithm(name: str, hparams: dict[str, Any], sample: Sample, *heads: nn.Module) -> Any:
    """`heads`: the layers of its models in order of their making."""
    from subpopbench.learning.algorithms import get_algorithm_class

    layers = iter(heads)
    hand(model=_Unchanged, head=lambda: next(layers))
    settings = {"lr": 0.0, "weight_decay": 0.0, "nonlinear_classifier": False, **hparams}
    return get_algorithm_class(name)("images", (D,), 2, 2, N, settings, grp_sizes=np.bincount(sample.groups).tolist())


class _Unchanged(nn.Identity):
    n_outputs = D


def _ours(sample: Sample, layer: nn.Module, objective: Objective) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Our loss of every batch, in order."""
    for rows in sample.batches:
        features, labels, _ = sample.tensors(rows)
        logits = layer(features).detach()
        losses = F.cross_entropy(logits, labels, reduction="none")
        yield rows, (objective.weigh(rows, logits, losses) * losses).mean()


class _ByGroup:
    """ReWeight's weights as an objective."""

    def __init__(self, sample: Sample) -> None:
        self.weights, self.state = torch.from_numpy(group_weights(sample.groups, "groups")), {}

    def weigh(self, rows: np.ndarray, logits: Tensor, losses: Tensor) -> Tensor:
        return self.weights[rows]


CHECKS: dict[str, tuple[Any, dict[str, Callable[[Sample], float]]]] = {
    "afr": (
        afr,
        {
            "ERM: test logits after an epoch of the same batches": afr_training,
            "AFR: weights, and the head after 500 steps": afr_descent,
        },
    ),
    "lisa": (lisa, {"LISA: CutMix, pixels and labels": lisa_cutmix}),
    "spuco": (
        spuco,
        {
            "GroupDRO: test logits after an epoch of the same batches": spuco_training,
            "GroupDRO: loss over 20 steps": spuco_dro,
            "DFR: log-odds of one regression": spuco_dfr,
        },
    ),
    "subpopbench": (
        subpopbench,
        {
            "GroupDRO: loss over 20 steps": subpopbench_losses(
                "GroupDRO", {"groupdro_eta": 0.5}, lambda sample: GroupDRO(sample.groups, 0.5, 0.0)
            ),
            "ReWeight: loss": subpopbench_losses("ReWeight", {}, _ByGroup),
            "CVaR-DRO: loss, alpha 0.1": subpopbench_losses("CVaRDRO", {"joint_dro_alpha": 0.1}, lambda _: CVaR(0.1)),
            "LfF: both losses": subpopbench_lff,
        },
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Largest differences of core functions on the same numbers.")
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.manual_seed(0)
    ground = Ground(given.out.resolve())
    print("| code | function | largest difference |\n| --- | --- | --- |")
    for code, (module, checks) in CHECKS.items():
        module.prepare_code(given.sources.resolve() / code, given.out.resolve() / "copies" / f"exact-{code}")
        for title, check in checks.items():
            print(f"| {code} | {title} | {check(Sample(ground)):.1e} |", flush=True)


if __name__ == "__main__":
    main()
