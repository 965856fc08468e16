"""Fixtures of the tests of classifiers."""

from __future__ import annotations

import pytest
import torch

from ddb.learn.device import Runtime


@pytest.fixture
def cpu() -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32)
