"""Device and precision of models, resolved from the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import PartialState

from ddb.errors import ConfigError
from ddb.learn.processes import started_with_others

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Runtime:
    """`dtype` is the autocast type; float32 means no autocast. Weights stay float32. With `tf32` False, matrix products
    and convolutions of float32 tensors on CUDA are computed without TF32; with True, torch's settings apply."""

    device: torch.device
    dtype: torch.dtype
    tf32: bool = True

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Context for forward and backward passes. On exit torch's settings are restored."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if self.tf32:
                yield
            else:
                with without_tf32():
                    yield

    def exact(self) -> Runtime:
        """The same device in float32 without TF32, for rankings and scores, which compare small differences."""
        return replace(self, dtype=torch.float32, tf32=False)


@contextmanager
def without_tf32() -> Iterator[None]:
    """Turns TF32 off for matrix products and convolutions on CUDA; on exit torch's settings are restored."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = False
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


def open_accelerator(device: str, precision: str) -> Runtime:
    """Resolve config's `device` (auto | cpu | cuda | mps) and `precision` (auto | fp32 | bf16 | fp16).

    auto: the device that accelerate picks; bf16 where the hardware supports it (CUDA since Ampere, CPUs with
    AVX512-BF16 or AMX: 1.6 times as fast there), else fp32. Raises ConfigError for a device that this machine lacks and
    for fp16 on the CPU; with device "auto" also as `processes.started_with_others`, since accelerate reads the same
    environment.
    """
    if device == "auto":
        started_with_others()
    chosen = PartialState().device if device == "auto" else torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError('device: "cuda" was asked for, but torch sees no CUDA device; use --device cpu or auto.')
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError('device: "mps" was asked for, but torch sees none; use --device cpu or auto.')
    if precision == "auto":
        return Runtime(chosen, torch.bfloat16 if _computes_bf16(chosen) else torch.float32)
    if precision == "fp16" and chosen.type == "cpu":
        raise ConfigError("precision: fp16 is for CUDA and MPS; on the CPU use fp32 or bf16.")
    return Runtime(chosen, DTYPES[precision])


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
