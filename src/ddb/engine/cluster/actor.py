"""The Ray actor that computes rows. It opens stages from the run folder and writes nothing there but the files that a
row refers to (tokens)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial

from ddb.engine.cluster.answer import Answer, answered
from ddb.engine.local import attempt
from ddb.errors import ConfigError
from ddb.stage import Batch, Row, Worker

Recipe = Callable[[], Callable[[str], Worker]]
"""Called once in a worker's process; returns what opens a stage by its name, as its plan in the run folder says."""


class RowActor:
    """`folder`: the working folder of the process that the user started; relative paths of settings are below it."""

    def __init__(self, folder: str, recipe: Recipe) -> None:
        self._folder, self._recipe = folder, recipe
        self._open: Callable[[str], Worker] | None = None
        self._worker: Worker | None = None
        self._where = f"worker on {socket.gethostname()}"

    def open(self, stage: str) -> Answer:
        """Open a stage, with the models that are open already."""
        return answered(partial(self._opened, stage), self._where)

    def compute(self, batch: Batch) -> Answer:
        """The rows of a batch of the open stage."""
        worker = self._worker
        assert worker is not None, "open comes first"
        return answered(lambda: attempt(worker, batch), self._where)

    def _opened(self, stage: str) -> list[Row]:
        self._worker = None  # its models are let go before others are opened
        if self._open is None:
            enter(self._folder, self._where)
            self._open = self._recipe()
        self._worker = self._open(stage)
        return []


def enter(folder: str, where: str) -> None:
    """Make `folder` the working folder. ConfigError where this machine does not have it."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise ConfigError(
            f"{where}: {folder}: {error.strerror}. Start ddb in a folder that all machines of the cluster share, with "
            "the data and the run folder."
        ) from error
