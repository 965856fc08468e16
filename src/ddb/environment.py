"""What a run was made with: versions and device, no names of machines or people."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ddb import __version__
from ddb.learn.device import open_accelerator

PACKAGES = ("torch", "torchvision", "timm", "diffusers", "transformers", "accelerate", "numpy", "pillow", "pyarrow")


def environment(device: str, precision: str) -> dict[str, Any]:
    """JSON-able. `device` and `precision` as in the configuration; raises ConfigError where they are not to be had."""
    runtime = open_accelerator(device, precision)
    return {
        "ddb": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else runtime.device.type,
        "precision": str(runtime.dtype).removeprefix("torch."),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
