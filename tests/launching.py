"""Starts a script or module in two processes, as users do, on this machine's CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")


def launch(*command: str, by: tuple[str, ...] = TORCHRUN, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """Run COMMAND in two processes to its end; stdout and stderr as text."""
    own = Path(__file__).parent
    paths = os.pathsep.join([str(own), str(own / "engine"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths.rstrip(os.pathsep)}
    return subprocess.run(
        [sys.executable, *by, *command], capture_output=True, text=True, env=environment, timeout=seconds
    )
