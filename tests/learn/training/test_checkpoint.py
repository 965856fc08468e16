"""A checkpoint is whole or absent; the best weights and their epoch."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from safetensors.torch import load_file

from ddb.learn.training import checkpoint
from ddb.learn.training.checkpoint import FitState, save_tensors


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {"a": torch.ones(3)})

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_tensors(path, {"a": torch.zeros(3)})
    assert torch.equal(load_file(path)["a"], torch.ones(3))
    assert os.listdir(tmp_path) == [path.name]


def test_channels_last_weights_keep_their_values(tmp_path):
    weights = torch.rand(4, 3, 2, 2).to(memory_format=torch.channels_last)
    save_tensors(tmp_path / "w", {"w": weights})
    assert torch.equal(load_file(tmp_path / "w")["w"], weights)


def test_progress_keeps_a_copy_of_the_best():
    model = torch.nn.Linear(2, 2)
    first = FitState().after(1, 0.5, (0.7, 0.1), model)
    kept = first.best["weight"].clone()
    with torch.no_grad():
        model.weight += 1
    worse = first.after(2, 0.4, (0.7, 0.0), model)
    assert (worse.epoch, worse.kept, worse.figures) == (2, 1, (0.7, 0.1))
    assert torch.equal(worse.best["weight"], kept)
    assert [row["figures"] for row in worse.history] == [[0.7, 0.1], [0.7, 0.0]]
    equal = worse.after(3, 0.3, (0.7, 0.1), model)
    assert equal.kept == 3
    assert torch.equal(equal.best["weight"], model.weight)
