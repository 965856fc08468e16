"""Shared code of methods on frozen features: features, computed once per backbone, and validation figures of a head."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel
from safetensors.numpy import load_file

from ddb.learn import predict, processes
from ddb.learn.classifier import Classifier
from ddb.learn.predict import Floats
from ddb.learn.seeds import seed_of
from ddb.learn.training.checkpoint import save_tensors
from ddb.learn.training.fit import Figures
from ddb.learn.validation import Held, lowest_accuracy
from ddb.rivals import Problem
from ddb.rivals.head import Doubles


class Outputs(Protocol):
    """A last layer, linear or not."""

    def logits(self, features: npt.NDArray[np.floating]) -> Doubles:
        """[N, D] -> [N, K]"""
        ...


def features_of(problem: Problem, classifier: Classifier, split: Literal["train", "val"]) -> Floats:
    """Features float32 [N, D] of the images of a split, cached in the problem's folder under the hash of the
    weights."""
    images = problem.train if split == "train" else problem.val
    path = problem.folder / f"features-{split}-{weights_hash(classifier)}-{len(images.labels)}.safetensors"
    with processes.leader_first():
        if not path.exists():
            found = predict.features(classifier, images.pixels, problem.runtime.exact(), problem.batch)
            save_tensors(path, {"features": torch.from_numpy(found)})
    features: Floats = load_file(path)["features"]
    return features


def weights_hash(classifier: Classifier) -> str:
    """First 16 hex digits of the SHA-256 of the model's state dict."""
    digest = hashlib.sha256()
    for name, value in sorted(classifier.model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def key(*parts: BaseModel | int) -> str:
    """A folder name derived from these settings, so that fits with other settings do not resume from its
    checkpoints."""
    return f"{seed_of(*(part if isinstance(part, int) else part.model_dump_json() for part in parts)):016x}"


def head_figures(problem: Problem, classifier: Classifier) -> Callable[[Outputs], Figures]:
    """The function that gives the figures of a head on the held-out images by the problem's selection rule, as
    `learn.validation.validator`; () for the rule "last"."""
    if problem.selection == "last":
        return lambda head: ()
    parts = [
        (_held_features(problem, classifier, held).astype(np.float64), held)
        for held in problem.held()
        if len(held.labels)
    ]
    cells = np.concatenate([held.cells for _, held in parts])

    def figures(head: Outputs) -> Figures:
        correct = np.concatenate([head.logits(seen).argmax(axis=1) == held.labels for seen, held in parts])
        mean = float(correct.mean())
        return (mean,) if problem.selection == "mean" else (lowest_accuracy(correct, cells), mean)

    return figures


def _held_features(problem: Problem, classifier: Classifier, held: Held) -> Floats:
    if held.pixels is problem.val.pixels:
        return features_of(problem, classifier, "val")
    return predict.features(classifier, held.pixels, problem.runtime.exact(), problem.batch)
