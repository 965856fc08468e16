"""SpuCo 2.0.3 (BigML-CS-UCLA/SpuCo).

    pip install --no-deps --target spuco spuco==2.0.3

A library: its GroupDRO, Trainer, JTTInference, CustomSampleERM, DFR and Evaluator are put together as in its
quickstart/waterbirds; the data set object is ours, since its own reads WILDS' copy.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.parity.command import main
from benchmarks.parity.ground import BATCH, BUDGET, Ground, Row
from benchmarks.parity.handed import Body
from benchmarks.parity.patches import Patch, patched
from benchmarks.parity.scripts import prepare
from torch import Tensor, nn
from torch.utils.data import Dataset

from ddb.learn.classifier import to_tensor

FIRST_EPOCHS, FACTOR = 1, 6

DRO = Row(
    "spuco_group_dro",
    "spuco",
    "GroupDRO",
    "group_dro",
    theirs="GroupDRO, Evaluator",
    departures="of equal epochs theirs keeps the first, ours the higher mean, then the last",
)
ROWS = (
    DRO,
    replace(
        DRO,
        name="spuco_jtt",
        title="JTT",
        rival="jtt",
        theirs="Trainer, JTTInference, CustomSampleERM, Evaluator",
        settings={"first_epochs": FIRST_EPOCHS, "extra_copies": FACTOR - 1, "errors": "after"},
    ),
    replace(
        DRO,
        name="spuco_dfr",
        title="DFR, validation",
        rival="dfr_val",
        theirs="DFR, Evaluator, from the ERM model of ours",
        departures="theirs standardises the search by the training images too, ours by the balanced half",
    ),
)


def patches() -> list[Patch]:
    return [
        Patch(
            "spuco/last_layer_retrain/dfr.py",
            "random.sample(ids,",
            "random.sample(sorted(ids),",
            "Python 3.11 takes no set",
        )
    ]


def prepare_code(source: Path, copy: Path) -> None:
    prepare(patched(source, patches(), copy), ("wilds", "umap", "pytorch_grad_cam", "wandb", "requests"))


class Birds(Dataset[tuple[Tensor, int]]):
    """A split as SpuCo wants it: `labels`, `spurious`, and the rows and shares of its groups (label, place)."""

    def __init__(self, ground: Ground, split: str) -> None:
        images = ground.images(split)
        normalise = ground.start(0).classifier.normalise
        self.images = normalise(to_tensor(np.asarray(images.pixels), torch.device("cpu")))
        groups = ground.groups(split)
        self.labels, self.spurious, self.num_classes = images.labels.tolist(), (groups % 2).tolist(), 2
        self.group_partition = {divmod(group, 2): np.flatnonzero(groups == group).tolist() for group in range(4)}
        self.group_weights = {key: len(rows) / len(groups) for key, rows in self.group_partition.items()}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


def run(row: Row, ground: Ground, copy: Path, seed: int) -> float:
    """Worst-group accuracy on the test images, as SpuCo's Evaluator has it, at the epoch that SpuCo keeps."""
    from spuco.utils import set_seed

    set_seed(seed)
    with (ground.out / "scratch" / "spuco.txt").open("a") as file, redirect_stderr(file):  # progress bars
        return _worst(row, ground, seed)


def _worst(row: Row, ground: Ground, seed: int) -> float:
    train, val, test = (Birds(ground, split) for split in ("train", "val", "test"))
    if row.rival == "dfr_val":
        model = wrapped(ground.erm(seed).classifier.model)
        return worst(test, train, model, head=fit_dfr(train, val, model))
    method = group_dro if row.rival == "group_dro" else jtt
    return worst(test, train, method(train, val, lambda: wrapped(ground.start(seed).classifier.model)).best_model)


def wrapped(model: Any) -> Any:
    """A SpuCoModel with ours' weights."""
    from spuco.models import SpuCoModel

    head = model.get_classifier()
    spuco_model = SpuCoModel(Body(model), head.in_features, head.out_features)
    spuco_model.classifier = head
    return spuco_model


def optimiser(model: nn.Module, rate: float = BUDGET.lr) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate, weight_decay=BUDGET.weight_decay, momentum=0.9)


def evaluator(data: Birds, train: Birds, model: nn.Module, head: Any = None) -> Any:
    from spuco.evaluate import Evaluator

    partition, weights = data.group_partition, train.group_weights
    return Evaluator(data, partition, weights, batch_size=BATCH, model=model, sklearn_linear_model=head)


def worst(data: Birds, train: Birds, model: nn.Module, head: Any = None) -> float:
    judge = evaluator(data, train, model, head)
    judge.evaluate()
    return float(judge.worst_group_accuracy[1]) / 100


def group_dro(train: Birds, val: Birds, start: Any) -> Any:
    from spuco.datasets import GroupLabeledDatasetWrapper
    from spuco.robust_train import GroupDRO

    model = start()
    method = GroupDRO(
        model=model,
        trainset=GroupLabeledDatasetWrapper(train, train.group_partition),
        batch_size=BUDGET.batch_size,
        optimizer=optimiser(model),
        num_epochs=BUDGET.epochs,
        val_evaluator=evaluator(val, train, model),
    )
    method.train()
    return method


def jtt(train: Birds, val: Birds, start: Any) -> Any:
    from spuco.group_inference import JTTInference
    from spuco.robust_train import CustomSampleERM
    from spuco.utils import Trainer

    first = start()
    trainer = Trainer(trainset=train, model=first, batch_size=BUDGET.batch_size, optimizer=optimiser(first))
    trainer.train(num_epochs=FIRST_EPOCHS)
    first.eval()
    predictions = torch.argmax(trainer.get_trainset_outputs(), dim=-1).tolist()
    partition = JTTInference(predictions=predictions, class_labels=train.labels).infer_groups()
    model = start()
    method = CustomSampleERM(
        model=model,
        trainset=train,
        batch_size=BUDGET.batch_size,
        optimizer=optimiser(model),
        num_epochs=BUDGET.epochs,
        indices=partition[0, 0] + partition[0, 1] * FACTOR,
        val_evaluator=evaluator(val, train, model),
    )
    method.train()
    return method


def fit_dfr(train: Birds, val: Birds, model: nn.Module) -> Any:
    from spuco.datasets import GroupLabeledDatasetWrapper
    from spuco.last_layer_retrain import DFR

    labelled = GroupLabeledDatasetWrapper(val, val.group_partition)
    method = DFR(group_labeled_set=labelled, model=model, data_for_scaler=train)
    method.train()
    return method.linear_model


if __name__ == "__main__":
    main(ROWS, prepare_code, run)
