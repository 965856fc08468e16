"""A step in parts has the loss and the gradient of the whole; where it cannot, it says what to lower."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ddb.config import Augment, FitConfig
from ddb.learn.device import Runtime
from ddb.learn.halving import OutOfMemory
from ddb.learn.training.batches import Batch
from ddb.learn.training.fit import Images, Material, Term, fit
from ddb.learn.training.group_dro import GroupDRO
from training_step import step_loss

SETTINGS = FitConfig(epochs=2, batch_size=10, lr=0.05, augment=Augment(colour=0.3, noise=4))
ROWS = [Batch(rows) for rows in (np.arange(10), np.array([0, 1, 2, 4]), np.arange(20, 26))]


@pytest.fixture
def plain(make_classifier):
    """Classifiers whose images do not depend on each other."""

    def make(drop=0.0):
        classifier = make_classifier()
        classifier.model.norm, classifier.model.drop = nn.Identity(), nn.Dropout(drop)
        return classifier

    return make


def material(colours, objective=None):
    weights = np.linspace(0.5, 2, 40).astype(np.float32)
    terms = (Term(Images(colours.pixels[:5], colours.labels[:5]), 0.3, 4), Term(colours, 1.7, 6))
    return Material(Images(colours.pixels, colours.labels, weights), terms, objective=objective)


def gradients(classifier):
    return [parameter.grad.clone() for parameter in classifier.model.parameters()]


class Small(nn.Module):
    """Runs out of memory above `room` images."""

    def __init__(self, room):
        super().__init__()
        self.room, self.sizes = room, []

    def forward(self, x):
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x


def shrink(classifier, room):
    """The classifier's model with a first layer that has room for `room` images."""
    classifier.model.conv = nn.Sequential(Small(room), classifier.model.conv)
    return classifier.model.conv[0]


@pytest.mark.parametrize("room", [1, 3, 7, 19])
def test_parts_have_the_loss_and_the_gradient_of_the_whole(plain, colours, device, room):
    runtime, whole, parts = Runtime(device, torch.float32).exact(), plain(), plain()
    expected = step_loss(whole, material(colours), ROWS, SETTINGS, runtime)
    assert step_loss(parts, material(colours), ROWS, SETTINGS, runtime, room) == pytest.approx(expected, rel=1e-5)
    for one, other in zip(gradients(whole), gradients(parts), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_objective_sees_the_whole_step_once(plain, colours, device):
    runtime, groups = Runtime(device, torch.float32).exact(), np.arange(40) % 4
    found = []
    for room in (100, 3):
        objective, classifier = GroupDRO(groups, 0.5, 0.0), plain()
        loss = step_loss(classifier, material(colours, objective), ROWS, SETTINGS, runtime, room)
        found.append((loss, gradients(classifier), {name: value.clone() for name, value in objective.state.items()}))
    (loss, whole, state), (other, parts, after) = found
    assert other == pytest.approx(loss, rel=1e-5)
    for one, two in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    for name in state:
        torch.testing.assert_close(state[name], after[name])


def test_running_out_of_memory_halves_and_remembers(plain, colours, device, tmp_path):
    """A fit on a small device ends with the weights of a large one, up to the order of sums."""
    runtime, whole, parts = Runtime(device, torch.float32).exact(), plain(), plain()
    fit(whole, material(colours, GroupDRO(np.arange(40) % 4, 0.5, 0.0)), SETTINGS, runtime, 0, tmp_path / "whole")
    small = shrink(parts, 6)
    fit(parts, material(colours, GroupDRO(np.arange(40) % 4, 0.5, 0.0)), SETTINGS, runtime, 0, tmp_path / "parts")
    assert small.sizes[:3] == [20, 10, 5] and max(small.sizes[3:]) == 5, "the smaller size is kept"
    expected = dict(whole.model.state_dict())
    for name, value in parts.model.state_dict().items():
        torch.testing.assert_close(value, expected[name.replace("conv.1", "conv")], rtol=1e-3, atol=1e-5)


def test_parts_draw_the_same_dropout_for_weights_and_gradients(plain, colours, cpu):
    """Losses that the objective weighs are the losses that are learned from."""
    classifier, seen = plain(0.5), []

    class Watch:
        state: dict = {}

        def weigh(self, rows, logits, losses):
            seen.append(losses)
            return torch.ones(len(rows))

    classifier.model.train()
    images = Material(Images(colours.pixels, colours.labels), objective=Watch())
    loss = step_loss(classifier, images, ROWS[:1], SETTINGS, cpu, 3)
    assert float(seen[0].mean()) == pytest.approx(loss, rel=1e-5)


def test_one_image_that_does_not_fit_says_what_to_lower(plain, colours, cpu, tmp_path):
    classifier = plain()
    shrink(classifier, 0)
    with pytest.raises(OutOfMemory, match="batch_size 1: take a smaller erm.image_size"):
        fit(classifier, material(colours), SETTINGS, cpu, 0, tmp_path)


def test_batch_normalisation_cannot_be_halved(make_classifier, colours, cpu, tmp_path):
    classifier = make_classifier()
    small = shrink(classifier, 6)
    with pytest.raises(OutOfMemory, match="20 images in a step, and its batch normalisation needs .* lower batch_size"):
        fit(classifier, material(colours), SETTINGS, cpu, 0, tmp_path)
    small.sizes.clear()
    frozen = Material(Images(colours.pixels, colours.labels), last_layer_only=True)
    fit(classifier, frozen, SETTINGS, cpu, 0, tmp_path / "last")
    assert small.sizes[:2] == [10, 5], "in eval mode it does not couple images"
