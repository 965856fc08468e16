"""One training step, for tests that look at its loss and gradients."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from ddb.config import FitConfig
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize
from ddb.learn.training.batches import Batch
from ddb.learn.training.feed import open_feed
from ddb.learn.training.material import Material
from ddb.learn.training.step import Training, put_gradients


def step_loss(
    classifier: Classifier,
    material: Material,
    batch: Sequence[Batch],
    settings: FitConfig,
    runtime: Runtime,
    room: int = sys.maxsize,
) -> float:
    """The loss of a step of the seed 0; its gradient is left in the parameters. `room`: images in a pass. The step's
    inputs are prepared by the caller's thread."""
    scaler = torch.amp.GradScaler(runtime.device.type, enabled=False)
    size = BatchSize(room, "batch_size", "take a smaller erm.image_size")
    classifier.on(runtime.device)
    training = Training(classifier, material, settings, runtime, scaler, size)
    with open_feed(material, settings.augment, classifier.image_size, runtime.device) as feed:
        return float(put_gradients(training, feed.prepared(batch, torch.Generator().manual_seed(0))))
