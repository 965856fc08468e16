"""Whole epochs of a public code's own training loop on the batches of ours: how far apart are the models?

At a tenth of the budget's rate, since rounding grows with every step.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from benchmarks.parity.ground import BATCH, BUDGET, WORLD, Ground
from benchmarks.parity.sample import Sample
from benchmarks.parity.spuco import Birds, optimiser, wrapped
from torch import Tensor
from torch.utils.data import DataLoader

from ddb.learn import predict
from ddb.learn.classifier import Classifier
from ddb.learn.device import open_accelerator
from ddb.learn.seeds import seed_of
from ddb.learn.training.batches import passes
from ddb.learn.training.fit import Material, fit
from ddb.learn.training.group_dro import GroupDRO
from ddb.learn.training.group_plans import balanced

SLOW = BUDGET.model_copy(update={"epochs": 1, "selection": "last", "lr": BUDGET.lr / 10})


def afr_training(sample: Sample) -> float:
    """AFR's train_epoch, ERM: logits of the test images."""
    import losses
    import optimizers
    from utils.supervised_utils import train_epoch

    import data

    ground = sample.ground
    own = _trained(ground, Material(ground.images("train")))
    public = ground.start(0).classifier
    batches = passes(np.arange(WORLD.train), SLOW.batch_size, _draws())
    dataset = data.SpuriousDataset(str(ground.data), "train", data.NoAugWaterbirdsCelebATransform(train=True))
    loader = DataLoader(dataset, batch_sampler=[batch.rows.tolist() for batch in batches])
    settings = SimpleNamespace(init_lr=SLOW.lr, momentum=0.9, weight_decay=SLOW.weight_decay)
    optimizer = optimizers.sgd_optimizer(public.model, settings)
    with redirect_stderr(StringIO()):  # a progress bar
        train_epoch(public.model, loader, optimizer, losses.cross_entropy(), "cpu", 0)
    return apart(_logits(ground, public), _logits(ground, own))


def spuco_training(sample: Sample) -> float:
    """SpuCo's GroupDRO: logits of the test images. Its sampler is given what ours has drawn."""
    from spuco.datasets import GroupLabeledDatasetWrapper
    from spuco.robust_train import GroupDRO as SpuCoGroupDRO

    ground = sample.ground
    groups = ground.groups("train")
    plan = balanced(groups, SLOW.batch_size)
    own = _trained(ground, Material(ground.images("train"), plan=plan, objective=GroupDRO(groups, 0.01, 0.0)))
    rows = np.concatenate([batch.rows for batch in plan(_draws(), own)]).tolist()
    public = ground.start(0).classifier
    train, model = Birds(ground, "train"), wrapped(public.model)
    method = SpuCoGroupDRO(
        model=model,
        trainset=GroupLabeledDatasetWrapper(train, train.group_partition),
        batch_size=SLOW.batch_size,
        optimizer=optimiser(model, SLOW.lr),
        num_epochs=1,
    )
    with mock.patch("random.choices", return_value=rows):
        method.train()
    model.eval()
    test = Birds(ground, "test")
    with torch.no_grad():
        logits = torch.cat([model(images) for images in test.images.split(BATCH)])
    return apart(logits, _logits(ground, own))


def apart(public: Tensor, own: Any) -> float:
    """The largest absolute difference."""
    return float((public.detach().double() - torch.as_tensor(own).double()).abs().max())


def _trained(ground: Ground, material: Material) -> Classifier:
    """Ours after an epoch."""
    own = ground.start(0).classifier
    with TemporaryDirectory() as folder:
        fit(own, material, SLOW, open_accelerator("cpu", "fp32"), 0, Path(folder))
    return own


def _draws() -> torch.Generator:
    """What the first epoch of `fit` draws its batches from."""
    return torch.Generator().manual_seed(seed_of(0, "epoch", 1))


def _logits(ground: Ground, model: Classifier) -> Tensor:
    images = ground.images("test")
    return torch.from_numpy(predict.logits(model, images.pixels, open_accelerator("cpu", "fp32"), BATCH))
