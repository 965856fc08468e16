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


@pytest.fixture
def tf32_on():
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield
    for place, value in zip(places, before, strict=True):
        place.allow_tf32 = value


def test_exact_computes_without_tf32_and_restores_the_setting(tf32_on):
    """On any machine: torch's settings inside, and after an error. On CUDA they decide (see the test below)."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)

    def fail():
        with open_accelerator("cpu", "bf16").exact().autocast():
            assert not any(place.allow_tf32 for place in places)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(place.allow_tf32 for place in places)
    with open_accelerator("cpu", "fp32").autocast():
        assert all(place.allow_tf32 for place in places)


def test_an_exact_product_keeps_24_bits(device, tf32_on):
    left = torch.rand(256, 256, generator=torch.Generator().manual_seed(0))
    with open_accelerator(device.type, "fp32").exact().autocast():
        found = (left.to(device) @ left.to(device)).cpu()
    exact = left.double() @ left.double()
    assert (found - exact).abs().max() / exact.max() < 1e-6


def test_fp16_on_the_cpu_is_refused():
    with pytest.raises(ConfigError, match="fp16"):
        open_accelerator("cpu", "fp16")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_an_absent_device_is_said(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f'"{device}" was asked for'):
        open_accelerator(device, "auto")
