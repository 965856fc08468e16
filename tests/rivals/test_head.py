"""A last layer as arrays: its logits, reading it from a classifier and writing it back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError
from ddb.learn.classifier import Classifier
from ddb.rivals.head import Head, average, head_of, put_head, unscaled


def wrap(head: nn.Module) -> Classifier:
    return Classifier(nn.Sequential(head), head, Preprocessing(8, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3))


def test_out_and_in_again():
    torch.manual_seed(0)
    one, other = nn.Linear(5, 3), nn.Linear(5, 3)
    head = head_of(wrap(one))
    features = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_allclose(head.logits(features), one(torch.from_numpy(features)).detach().numpy(), atol=1e-6)
    put_head(wrap(other), head)
    assert torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)


def test_a_copy_stays_as_it_was():
    layer = nn.Linear(2, 2)
    head = head_of(wrap(layer))
    before = head.weight.copy()
    put_head(wrap(layer), Head(head.weight + 1, head.bias))
    np.testing.assert_array_equal(head.weight, before)


def test_standardisation_folds_into_the_weights():
    rng = np.random.default_rng(0)
    features, mean, scale = rng.normal(size=(6, 4)), rng.normal(size=4), rng.uniform(0.5, 3, 4)
    head = Head(rng.normal(size=(2, 4)), rng.normal(size=2))
    folded = unscaled(head, mean, scale)
    np.testing.assert_allclose(folded.logits(features), head.logits((features - mean) / scale))


def test_average():
    mean = average([Head(np.array([[1.0]]), np.array([0.0])), Head(np.array([[3.0]]), np.array([1.0]))])
    assert mean.weight.item() == 2 and mean.bias.item() == 0.5


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 2, 1), nn.Linear(3, 2, bias=False)])
def test_other_layers_are_refused(layer):
    with pytest.raises(ModelError, match="need a linear layer"):
        head_of(wrap(layer))
