"""Fits of 20 steps, run by one process and by two; as a script it writes the weights that each fit ends with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from ddb.config import Augment, FitConfig
from ddb.data.preprocessing import Preprocessing
from ddb.learn import processes
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.learn.training.fit import Images, Material, Term, fit
from ddb.learn.training.group_dro import GroupDRO
from ddb.rivals.lisa import LISASettings, selective

SIDE, BATCH = 16, 10
CASES = {
    "erm": nn.Identity,
    "retrain": nn.Identity,
    "erm-norm": lambda: nn.BatchNorm2d(8),
    "retrain-norm": lambda: nn.BatchNorm2d(8),
    "mixed": nn.Identity,
    "mixed-norm": lambda: nn.BatchNorm2d(8),
}
SETTINGS = FitConfig(
    epochs=4, batch_size=BATCH, lr=0.05, schedule="cosine", augment=Augment(colour=0.3, blur=0.3, noise=4)
)  # fmt: skip


def classifier(norm: nn.Module) -> Classifier:
    torch.manual_seed(0)
    head = nn.Linear(8, 2)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head]
    return Classifier(
        nn.Sequential(*layers), head, Preprocessing(SIDE, 1.0, "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    )


def material(name: str) -> Material:
    """50 weighted images, 5 steps an epoch; for retraining two terms of sizes that two processes cannot halve; mixed:
    LISA's pairs, weighted by GroupDRO."""
    rng = np.random.default_rng(0)
    labels = np.arange(50) % 2
    pixels = rng.integers(0, 256, (50, SIDE, SIDE, 3), dtype=np.uint8)
    weights = np.linspace(0.5, 2, 50).astype(np.float32)
    terms = (Term(Images(255 - pixels[:7], labels[:7]), 0.5, 3), Term(Images(pixels[9:20], labels[9:20]), 2.0, 4))
    train = Images(pixels, labels, weights)
    if name.startswith("mixed"):
        groups = np.arange(50) % 4
        pools = [np.flatnonzero(groups == group) for group in range(4)]
        plan = selective(pools, (2, 2), BATCH, SIDE, LISASettings(mix="cutmix" if name == "mixed" else "mixup"))
        return Material(train, plan=plan, objective=GroupDRO(groups, 0.5, 0.0))
    return Material(train, terms if name.startswith("retrain") else ())


def fitted(name: str, folder: Path) -> dict[str, torch.Tensor]:
    """The weights after 20 steps, and the loss of every epoch under "losses"."""
    made = classifier(CASES[name]())
    progress = fit(made, material(name), SETTINGS, Runtime(torch.device("cpu"), torch.float32), 7, folder / name)
    losses = torch.tensor([line["loss"] for line in progress.history])
    return {name: value.contiguous() for name, value in made.model.state_dict().items()} | {"losses": losses}


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    processes.join("cpu")
    for case in CASES:
        save_file(fitted(case, out), out / f"{case}-{processes.rank()}.safetensors")
