"""Device and precision."""

from __future__ import annotations

import pytest
import torch

from ddb.errors import ConfigError
from ddb.learn.device import open_accelerator


def test_cpu_precisions():
    assert open_accelerator("cpu", "fp32").dtype == torch.float32
    assert open_accelerator("cpu", "bf16").dtype == torch.bfloat16
    assert open_accelerator("cpu", "auto").device == torch.device("cpu")
    assert open_accelerator("cpu", "auto").dtype in (torch.float32, torch.bfloat16)


def test_autocast_only_where_precision_is_lower():
    product = torch.ones(2, 2)
    with open_accelerator("cpu", "bf16").autocast():
        assert (product @ product).dtype == torch.bfloat16
    with open_accelerator("cpu", "bf16").exact().autocast():
        assert (product @ product).dtype == torch.float32


def test_fp16_on_the_cpu_is_refused():
    with pytest.raises(ConfigError, match="fp16"):
        open_accelerator("cpu", "fp16")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_an_absent_device_is_said(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f'"{device}" was asked for'):
        open_accelerator(device, "auto")
