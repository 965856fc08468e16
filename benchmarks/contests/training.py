"""Training beside what a user would otherwise write. The model is the pocket backbone at 64 pixels, or (full) a
ResNet-50 at 224 pixels without trained weights. Batches have 32 images; all contenders compute in the precision of
`precision: auto`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from contests.contest import Contest, synchronise
from ddb.backends.classifiers.timm_classifier import create_classifier
from ddb.config import Augment, ErmConfig
from ddb.data.images import png_bytes
from ddb.data.stores.picture_file import open_pictures, write_pictures
from ddb.data.stores.picture_store import for_crops
from ddb.learn.classifier import Classifier, to_tensor
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.training.batches import Batch, passes
from ddb.learn.training.fit import Images, Material, fit
from ddb.pocket.world import render, sample_scene

BATCH, STEPS = 32, 30
AUGMENT = Augment(scale=(0.8, 1.0))


@dataclass(frozen=True)
class Bench:
    """The images of two classes in `folder` (an ImageFolder), the same as `images`, and the model's settings."""

    folder: Path
    images: Images
    settings: ErmConfig
    runtime: Runtime

    def classifier(self) -> Classifier:
        return create_classifier(self.settings, ("a", "b"), 0).classifier


def bench(folder: Path, device: str, full: bool) -> Bench:
    """Write `BATCH * STEPS` images into `folder`: pocket birds, or (`full`) synthetic photographs of 500 x 375."""
    runtime, count = open_accelerator(device, "auto"), BATCH * STEPS
    settings = settings_of(full)
    rng, labels = np.random.default_rng(0), np.arange(count) // (count // 2)
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
    pictures = [_photograph(rng) if full else render(sample_scene(rng, plan="landbird")).image for _ in range(count)]
    for row, picture in enumerate(pictures):
        path = folder / "images" / "ab"[labels[row]] / f"{row:05d}"
        if full:
            Image.fromarray(picture).save(path.with_suffix(".jpg"), quality=90)
        else:
            path.with_suffix(".png").write_bytes(png_bytes(picture))
    store = folder / "pictures.bin"
    write_pictures(store, count, lambda row: for_crops(pictures[row], settings.image_size, AUGMENT.scale[0]))
    squares = np.empty((0, settings.image_size, settings.image_size, 3), np.uint8)
    images = Images(squares, labels.astype(np.int64), pictures=open_pictures(store, count))
    return Bench(folder, images, settings, runtime)


def settings_of(full: bool) -> ErmConfig:
    """The pocket backbone at 64 pixels, or (`full`) a ResNet-50 at 224."""
    own = {"backbone": "resnet50", "weights": "none"} if full else {"backbone": "pocket", "weights": "pocket"}
    return ErmConfig(**own, image_size=224 if full else 64, epochs=1, batch_size=BATCH, lr=1e-3, augment=AUGMENT)


def _photograph(rng: np.random.Generator) -> np.ndarray:
    total = np.zeros((375, 500, 3), np.float32)
    for size in (8, 64, 512):
        noise = Image.fromarray(rng.integers(0, 256, (size * 3 // 4, size, 3), dtype=np.uint8))
        layer = noise.filter(ImageFilter.GaussianBlur(1)).resize((500, 375), Image.Resampling.BILINEAR)
        total += np.asarray(layer, np.float32) / 3
    return total.clip(0, 255).astype(np.uint8)


def training_contest(world: Bench) -> Contest:
    """ddb's loop, the same model with one batch that stays on the device, and a plain loop."""
    contenders = {
        "ddb": _ddb(world),
        "the same batch on the device in every step": _resident(world),
        "torchvision's ImageFolder and DataLoader": _plain(world),
    }
    return Contest("training", "images/s", contenders)


def _ddb(world: Bench) -> Callable[[], float]:
    """An epoch of `fit`, from its plan to its validation: all steps, without the checkpoint."""
    classifier, marks = world.classifier(), []

    def mark() -> None:
        synchronise(world.runtime.device)
        marks.append(time.perf_counter())

    def plan(generator: torch.Generator, _classifier: Classifier) -> list[Batch]:
        mark()
        return passes(np.arange(len(world.images.labels)), BATCH, generator)

    def validate(_classifier: Classifier) -> tuple[float]:
        mark()
        return (1.0,)

    def run() -> float:
        marks.clear()
        material = Material(world.images, validate=validate, plan=plan)
        with tempfile.TemporaryDirectory() as folder:
            fit(classifier, material, world.settings, world.runtime, 0, Path(folder))
        return BATCH * STEPS / (marks[1] - marks[0])

    return run


def _resident(world: Bench) -> Callable[[], float]:
    """Forward, backward and optimiser of the same model on one batch."""
    runtime = world.runtime
    classifier = world.classifier()
    model = classifier.on(runtime.device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-3, fused=True)
    rng = np.random.default_rng(0)
    side = classifier.image_size
    batch = classifier.normalise(
        to_tensor(rng.integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8), runtime.device)
    )
    labels = torch.arange(BATCH, device=runtime.device) % 2

    def run() -> float:
        model.train()
        synchronise(runtime.device)
        start = time.perf_counter()
        for _ in range(STEPS):
            optimiser.zero_grad(set_to_none=True)
            with runtime.autocast():
                logits = model(batch)
            F.cross_entropy(logits.float(), labels).backward()
            optimiser.step()
        synchronise(runtime.device)
        return BATCH * STEPS / (time.perf_counter() - start)

    return run


def _plain(world: Bench) -> Callable[[], float]:
    """torchvision's ImageFolder and a DataLoader with a worker for each core, as its examples do it."""
    runtime, classifier = world.runtime, world.classifier()
    side = classifier.image_size
    transform = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomResizedCrop(side, scale=AUGMENT.scale, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(classifier.mean, classifier.std),
        ]
    )
    data = ImageFolder(str(world.folder / "images"), transform)
    model = classifier.model.to(runtime.device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-3)

    def run() -> float:
        model.train()
        pinned = runtime.device.type == "cuda"
        loader = DataLoader(data, BATCH, shuffle=True, num_workers=os.cpu_count() or 1, pin_memory=pinned)
        batches, seen = iter(loader), 0
        next(batches)  # the workers have started
        synchronise(runtime.device)
        start = time.perf_counter()
        for images, labels in batches:
            images, labels = images.to(runtime.device), labels.to(runtime.device)
            optimiser.zero_grad()
            with runtime.autocast():
                loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimiser.step()
            loss.item()
            seen += len(labels)
        synchronise(runtime.device)
        return seen / (time.perf_counter() - start)

    return run
