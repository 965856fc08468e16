"""How public code is run inside this process: on the CPU, with the packages that it imports and does not need here."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import runpy
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import data

GENERAL = (
    "`.cuda()` does nothing, loaders start no processes, checkpoints may hold whole objects (all three: torch on a "
    "CPU); `np.int` is `int`"
)
"""Patches that every public code gets, made to torch and numpy instead of its text."""


class Nothing:
    """Stands for whatever a missing package offers: made with anything, every method takes anything."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


class _Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives modules full of `Nothing` for packages that are imported and not used."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = [name for name in packages if importlib.util.find_spec(name) is None]

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        wanted = name.partition(".")[0] in self.packages
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if wanted else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__getattr__ = _nothing  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def _nothing(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (Nothing,), {})


def prepare(copy: Path, unused: Sequence[str]) -> None:
    """Make the modules in `copy` importable, before all others, and torch work as on a machine with one CPU. `unused`:
    packages that may be missing."""
    sys.path.insert(0, str(copy))
    sys.meta_path.append(_Missing(unused))
    os.environ["MPLBACKEND"] = "Agg"
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    torch.nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    np.int = int  # type: ignore[attr-defined]
    _change_default(data.DataLoader, "__init__", num_workers=0, pin_memory=False)
    _change_default(torch, "load", weights_only=False)  # files that this process wrote


def _change_default(owner: Any, name: str, **forced: Any) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda *values, **named: original(*values, **{**named, **forced}))


def seed_everything(seed: int) -> None:
    """For scripts that do not seed themselves."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def run_script(script: Path, arguments: Sequence[object], folder: Path) -> dict[str, Any]:
    """Run a script as `python script arguments` in `folder`; what it prints goes to output.txt there. Returns its
    globals."""
    folder.mkdir(parents=True, exist_ok=True)
    with _as_main(script, arguments, folder):
        return runpy.run_path(str(script), run_name="__main__")


@contextmanager
def _as_main(script: Path, arguments: Sequence[object], folder: Path) -> Iterator[None]:
    before = sys.argv, sys.stdout, sys.stderr, Path.cwd()
    sys.argv = [str(script), *map(str, arguments)]
    # The loggers of these codes close standard output when they end.
    sys.stdout = sys.stderr = (folder / "output.txt").open("a", encoding="utf-8")
    os.chdir(folder)
    try:
        yield
    finally:
        sys.argv, sys.stdout, sys.stderr = before[:3]
        os.chdir(before[3])
