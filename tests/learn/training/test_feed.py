"""The feed: a step's inputs are prepared while the step before is computed, in one order, and its threads end."""

from __future__ import annotations

import threading
import traceback
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from ddb.config import Augment, FitConfig
from ddb.errors import DataError, StageFailed
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize
from ddb.learn.training import fit as fitting
from ddb.learn.training.batches import Batch
from ddb.learn.training.feed import open_feed
from ddb.learn.training.fit import Images, Material, Term, fit
from ddb.learn.training.step import Training, put_gradients

SETTINGS = FitConfig(epochs=1, batch_size=4, lr=0.05, augment=Augment(colour=0.3, blur=0.5, noise=4))
WAIT = 60
"""Seconds after which a test gives up: long, so that a slow machine changes no result."""


class Watched:
    """Pictures that note when they are read, and can fail or wait."""

    def __init__(self, pixels, read=lambda row: None):
        self.pixels, self.read = pixels, read

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, row):
        self.read(row)
        return self.pixels[row]


def in_order(rows):
    """A plan of steps of 4 rows, in the given order."""
    return lambda generator, classifier: [Batch(rows[start : start + 4]) for start in range(0, len(rows), 4)]


def material(colours, read=lambda row: None):
    """10 steps that take the images in their order."""
    return Material(replace(colours, pictures=Watched(colours.pixels, read)), plan=in_order(np.arange(40)))


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ddb-")]


def test_the_next_steps_pictures_are_read_while_a_step_is_computed(make_classifier, colours, cpu, tmp_path):
    """A step's computation does not end before the next step's pictures were read: without a thread it would wait for
    ever. No step reads further ahead than one more."""
    seen, lock = set(), threading.Condition()

    def read(row):
        with lock:
            seen.add(row // 4)
            lock.notify_all()

    classifier, step, ahead = make_classifier(), iter(range(10)), []

    def compute(_module, _inputs):
        now = next(step)
        with lock:
            assert lock.wait_for(lambda: min(now + 1, 9) in seen, WAIT), f"step {now + 1} was not read during {now}"
            ahead.append(max(seen) - now)

    classifier.model.register_forward_pre_hook(compute)
    fit(classifier, material(colours, read), SETTINGS, cpu, 0, tmp_path)
    assert len(ahead) == 10
    assert max(ahead) == 1


def test_inputs_are_those_that_one_thread_would_prepare(make_classifier, colours, device):
    batches = [[Batch(np.arange(start, start + 4))] for start in range(0, 40, 4)]
    with open_feed(material(colours), SETTINGS.augment, 16, device) as feed:
        generator = torch.Generator().manual_seed(5)
        ahead = [inputs.squares.augmented() for inputs in feed.inputs(batches, generator) if inputs.wait() is None]
        generator.manual_seed(5)
        alone = []
        for batch in batches:
            inputs = feed.prepared(batch, generator)
            inputs.wait()
            alone.append(inputs.squares.augmented())
    assert len(ahead) == 10
    assert all(torch.equal(one, other) for one, other in zip(ahead, alone, strict=True))
    assert not torch.equal(ahead[0], ahead[1])


@pytest.mark.parametrize("row", [0, 3, 39])
def test_an_error_of_reading_reaches_the_caller_with_its_traceback(make_classifier, colours, cpu, tmp_path, row):
    def read(at):
        if at == row:
            raise DataError(f"picture {row} is damaged")

    with pytest.raises(DataError, match=f"picture {row} is damaged") as caught:
        fit(make_classifier(), material(colours, read), SETTINGS, cpu, 0, tmp_path)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "read"
    assert "fit" in names
    assert not ours()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_no_thread_is_left(make_classifier, colours, cpu, tmp_path, error):
    fit(make_classifier(), material(colours), SETTINGS, cpu, 0, tmp_path / "whole")
    assert not ours()
    classifier, step = make_classifier(), iter(range(10))

    def stop(_module, _inputs):
        assert ours(), "the threads live as long as the fit"
        if next(step) == 3:
            raise error

    classifier.model.register_forward_pre_hook(stop)
    with pytest.raises(error):
        fit(classifier, material(colours), SETTINGS, cpu, 0, tmp_path / "stopped")
    assert not ours()


class Meta(Runtime):
    """torch's device without values: whatever would have to be read from the device raises an error."""

    def autocast(self):
        return nullcontext()


def test_a_step_reads_nothing_from_the_device(make_classifier, colours):
    """Augmentation, mixing, forward and backward pass of a step with an extra term."""
    runtime, augment = Meta(torch.device("meta"), torch.float32), Augment(scale=(0.5, 1.0), colour=0.3, blur=0.5)
    classifier = make_classifier()
    what = Material(Images(colours.pixels, colours.labels), (Term(colours, 0.5, 3),))
    room = BatchSize(100, "batch_size", "")
    training = Training(classifier, what, SETTINGS, runtime, torch.amp.GradScaler("cpu", enabled=False), room)
    classifier.on(runtime.device).train()
    pairs = {"share": np.full(4, 0.3, np.float32), "partners": np.arange(4)}
    for extra in ({}, pairs, {**pairs, "boxes": np.array([[0, 0, 8, 8]] * 4)}):
        with open_feed(what, augment, 16, runtime.device) as feed:
            batch = [Batch(np.arange(4), **extra), Batch(np.arange(3))]
            loss = put_gradients(training, feed.prepared(batch, torch.Generator().manual_seed(0)))
        assert loss.device.type == "meta"
        assert all(parameter.grad.device.type == "meta" for parameter in classifier.model.parameters())
        with pytest.raises(RuntimeError, match="meta"):
            float(loss)


def test_losses_are_read_once_in_ten_steps(make_classifier, colours, cpu, tmp_path, monkeypatch):
    read, real = [], fitting._finite
    monkeypatch.setattr(fitting, "_finite", lambda losses, *rest: read.append(len(losses)) or real(losses, *rest))
    state = fit(make_classifier(), Material(colours), SETTINGS.model_copy(update={"batch_size": 3}), cpu, 0, tmp_path)
    assert read == [10, 3]
    assert np.isfinite(state.history[0]["loss"])


def test_a_loss_that_is_not_finite_is_found_before_anything_of_its_epoch_is_saved(
    make_classifier, colours, cpu, tmp_path, monkeypatch
):
    put, step = fitting.put_gradients, iter(range(100))
    monkeypatch.setattr(fitting, "put_gradients", lambda *rest: put(*rest) + (np.inf if next(step) == 12 else 0))
    settings = SETTINGS.model_copy(update={"batch_size": 3})
    with pytest.raises(StageFailed, match="The loss is inf at epoch 1, step 13"):
        fit(make_classifier(), Material(colours, rank_epoch=1), settings, cpu, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_on_a_device_no_operation_waits_for_it(make_classifier, colours, tmp_path, monkeypatch):
    """CUDA alone can prove it: torch refuses each operation that waits within a step."""
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    put = fitting.put_gradients

    def refused(training, inputs):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return put(training, inputs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(fitting, "put_gradients", refused)
    settings = SETTINGS.model_copy(update={"augment": Augment(scale=(0.5, 1.0), colour=0.3, blur=0.5, noise=4)})
    fit(make_classifier(), Material(colours), settings, Runtime(torch.device("cuda"), torch.float32), 0, tmp_path)
