"""Communication between the processes of one run, as `accelerate launch` and `torchrun` start them.

Only the process of rank 0 (the leader) writes. All functions here except `count`, `rank` and `leads` are collective:
all processes have to call them in the same order. With one process they return at once, and torch is not imported.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from ddb.errors import ConfigError, StageFailed

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
NUMBERS = ("WORLD_SIZE", "RANK", "MASTER_PORT")
"""Environment variables of a launcher that hold numbers (`MASTER_ADDR` holds a host)."""
PATIENCE = timedelta(days=7)
"""Timeout of collective calls: a stage that only the leader computes may take hours."""


def started_with_others() -> bool:
    """Whether a launcher (torchrun, accelerate launch) started this process as one of several, as its environment says.

    ConfigError where the environment is incomplete: variables left by an earlier launch or a cluster's job would make
    this process wait for processes that were never started.
    """
    texts = {name: os.environ.get(name, "") for name in (*NUMBERS, "MASTER_ADDR")}
    if not texts["WORLD_SIZE"] or texts["WORLD_SIZE"] == "1":
        return False
    missing = [name for name in ("RANK", "MASTER_ADDR") if not texts[name]]
    wrong = [f"{name}={texts[name]!r}" for name in NUMBERS if texts[name] and not texts[name].isdecimal()]
    if not missing and not wrong and int(texts["RANK"]) < int(texts["WORLD_SIZE"]):
        return True
    why = f"but not {', '.join(missing)}" if missing else f"with {', '.join(wrong) or 'RANK=' + texts['RANK']}"
    raise ConfigError(
        f"the environment has WORLD_SIZE={texts['WORLD_SIZE']} {why}: left over from a launcher or a cluster's job. To "
        "run in this process alone: `unset WORLD_SIZE`. To run in several, start with torchrun or accelerate launch."
    )


def forget_launcher() -> None:
    """Remove what a launcher left in the environment, in a process that it did not start but one of its processes."""
    for name in (*NUMBERS, "MASTER_ADDR", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        os.environ.pop(name, None)


def join(device: str) -> None:
    """Initialise the process group, if this process was started with others. `device` as in the configuration.
    ConfigError as `started_with_others`, or where the other processes cannot be reached."""
    if count() == 1 and started_with_others():
        import torch
        from accelerate import PartialState

        on_cpu = device == "cpu" or not torch.accelerator.is_available()
        try:
            PartialState(cpu=on_cpu, timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ.get('MASTER_PORT', '')}"
            raise ConfigError(
                f"cannot meet the other {int(os.environ['WORLD_SIZE']) - 1} processes at {where} "
                f"({str(error).strip().splitlines()[0]}). Start with torchrun or accelerate launch, or "
                "`unset WORLD_SIZE` to run in this process alone."
            ) from error
        atexit.register(leave)


def leave() -> None:
    """Destroy the process groups and their threads: a thread that still runs at interpreter exit can end the process
    with SIGABRT. A group's threads end when the last reference to it is dropped."""
    if count() > 1:
        from accelerate import PartialState

        _messages.cache_clear()
        PartialState().destroy_process_group()


def count() -> int:
    """Number of processes of this run."""
    dist = sys.modules.get("torch.distributed")  # where it was never imported, there is no process group
    return dist.get_world_size() if dist and dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return _dist().get_rank() if count() > 1 else 0


def leads() -> bool:
    """Whether this is the process of rank 0, which writes; True with one process."""
    return rank() == 0


def wait() -> None:
    """Barrier: return when all processes have called it."""
    if count() > 1:
        with _meeting():
            _dist().barrier(group=_messages())


@contextmanager
def leader_first() -> Iterator[None]:
    """The leader runs the block first; the others run it afterwards and find the files that the leader wrote."""
    if not leads():
        wait()
    yield
    if leads():
        wait()


def shared(value: T) -> T:
    """The leader's value, in all processes."""
    if count() == 1:
        return value
    parcel: list[Any] = [value]
    with _meeting():
        _dist().broadcast_object_list(parcel, src=0, group=_messages())
    found: T = parcel[0]
    return found


def gathered(value: T) -> list[T]:
    """In the leader the values of all processes, by rank; in the others an empty list."""
    if count() == 1:
        return [value]
    parcels: list[Any] | None = [None] * count() if leads() else None
    with _meeting():
        _dist().gather_object(value, parcels, dst=0, group=_messages())
    return parcels or []


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, in all of them; `value` itself with one process."""
    if count() == 1:
        return value
    result = value.detach().clone()
    _dist().all_reduce(result)
    return result


def _dist() -> Any:
    """torch.distributed, for processes that have a process group."""
    import torch.distributed

    return torch.distributed


@contextmanager
def _meeting() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise StageFailed(
            "another process of this run has ended; its own message says why. What was computed is kept: run again."
        ) from error


@lru_cache(maxsize=1)
def _messages() -> Any:
    """The process group for Python objects: gloo, on the CPU, also where tensors use NCCL."""
    return _dist().new_group(backend="gloo", timeout=PATIENCE)
