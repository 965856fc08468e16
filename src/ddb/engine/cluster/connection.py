"""The Ray cluster: a running one, or one of this machine alone; and how many workers it has room for."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ddb.errors import ConfigError

ENGINES = ("local", "ray")
ADDRESS = "RAY_ADDRESS"
NICENESS = "RAY_worker_niceness"
"""Ray's variable for the niceness of workers that it starts on this machine. Its default, 15, leaves them next to no
time beside other programs, where the local engine has its full share."""
REACH = 10.0
"""Seconds that a cluster may take to accept a connection. Ray itself tries for minutes."""


@dataclass(frozen=True)
class Wanted:
    """`device`: cpu, cuda or mps, that of this process; `asked`: the setting from which it follows; `threads`: of this
    process; `workers`: how many were asked for, 0 for as many as there is room for."""

    device: str
    asked: str
    threads: int
    workers: int


@dataclass(frozen=True)
class Room:
    """`workers` at once, each with `threads` threads and `gpus` (0 or 1) GPUs."""

    workers: int
    threads: int
    gpus: int

    def in_words(self) -> str:
        each = "a GPU" if self.gpus else f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.workers} worker{'s' * (self.workers > 1)} with {each} each"

    def resources(self) -> dict[str, int]:
        """What Ray reserves for a worker: a GPU, or else its CPUs."""
        return {"num_cpus": 0, "num_gpus": 1} if self.gpus else {"num_cpus": self.threads, "num_gpus": 0}


def check_engine(name: str) -> None:
    """ConfigError where there is no engine of this name, or Ray is asked for and not installed."""
    if name not in ENGINES:
        raise ConfigError(f"--engine {name}: choose {' or '.join(ENGINES)}.")
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "--engine ray needs Ray, which is not installed: python -m pip install 'diffusion-driven-balancing[ray]'"
        )


@contextmanager
def connected() -> Iterator[None]:
    """Inside this context the process is the driver of the cluster at $RAY_ADDRESS, of the one that `ray start` started
    on this machine, or else of one that ends with the context. A connection that the caller made is used and kept.

    ConfigError where the cluster does not answer."""
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        _check_address(os.environ.get(ADDRESS, ""))
        os.environ.setdefault(NICENESS, "0")
        with _signals_kept():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = os.environ.get(ADDRESS) or "this machine"
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"no Ray cluster at {where} ({reason}). Set {ADDRESS}, or see `ray status`.") from error
    try:
        yield
    finally:
        ray.shutdown()


def room(wanted: Wanted) -> Room:
    """The room for workers: as many as were asked for, or as fit. Without GPUs each has `threads` CPUs; if that is too
    many for the workers that were asked for, they share the CPUs with fewer threads each.

    ConfigError where so many do not fit, or where the cluster has GPUs and this process found none."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if wanted.device == "cuda":
        return Room(_checked(wanted.workers, gpus, f"the cluster has {gpus} GPUs"), wanted.threads, 1)
    if gpus and wanted.asked == "auto":
        raise ConfigError(
            "the cluster has GPUs, but this machine has none, and training is done here: start ddb on a machine of the "
            "cluster with a GPU, or use CPUs alone with --device cpu."
        )
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    threads = min(wanted.threads, max(cpus, default=1))
    if wanted.workers:
        threads = min(threads, sum(cpus) // wanted.workers)
    threads = max(1, threads)
    most = sum(each // threads for each in cpus)
    return Room(_checked(wanted.workers, most, f"the cluster has {sum(cpus)} CPUs"), threads, 0)


def _checked(asked: int, most: int, why: str) -> int:
    if max(asked, 1) > most:
        raise ConfigError(f"ray.workers {max(asked, 1)}: {why}, which is room for {most}.")
    return asked or most


def _check_address(address: str) -> None:
    """OSError where HOST:PORT accepts no connection. Other forms of an address are left to Ray."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "://" not in address:
        socket.create_connection((host, int(port)), REACH).close()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM; it is put back on exit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
