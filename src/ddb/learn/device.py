"""Where models run and in which precision: the one place that decides it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import PartialState

from ddb.errors import ConfigError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """`dtype` is the autocast type; float32 means no autocast. Weights stay float32. With `tf32` off, matrix products
    and convolutions of float32 tensors on CUDA keep float32's 24 bits; with it on, torch's own settings decide."""

    device: torch.device
    dtype: torch.dtype
    tf32: bool = True

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Where models compute, forward and backward. Leaves torch's settings as it found them."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if self.tf32:
                yield
            else:
                with without_tf32():
                    yield

    def exact(self) -> Runtime:
        """The same device in full float32: for rankings and scores, which compare small differences."""
        return replace(self, dtype=torch.float32, tf32=False)


@contextmanager
def without_tf32() -> Iterator[None]:
    """Matrix products and convolutions of float32 tensors on CUDA do not round to TF32 inside; restored after."""
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def open_accelerator(device: str, precision: str) -> Runtime:
    """Resolve config's `device` (auto | cpu | cuda | mps) and `precision` (auto | fp32 | bf16 | fp16).

    auto: the device that accelerate picks; bf16 where the hardware computes in it (CUDA since Ampere, CPUs with
    AVX512-BF16 or AMX: 1.6 times as fast there), else fp32. Raises ConfigError for a device that this machine lacks.
    """
    place = PartialState().device if device == "auto" else torch.device(device)
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError('device: "cuda" was asked for, but torch sees no CUDA device; use --device cpu or auto.')
    if place.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError('device: "mps" was asked for, but torch sees none; use --device cpu or auto.')
    if precision == "auto":
        return Runtime(place, torch.bfloat16 if _computes_bf16(place) else torch.float32)
    if precision == "fp16" and place.type == "cpu":
        raise ConfigError("precision: fp16 is for CUDA and MPS; on the CPU use fp32 or bf16.")
    return Runtime(place, DTYPES[precision])


def _computes_bf16(place: torch.device) -> bool:
    if place.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if place.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
