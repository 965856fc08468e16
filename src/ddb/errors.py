"""Errors for people. A message says what is wrong, where (file, row, key) and how to mend it, in one or two lines."""

from __future__ import annotations


class DDBError(Exception):
    """Base of every error that a user can mend; the command line prints it without a traceback and exits with 1."""


class ConfigError(DDBError):
    """A setting is unknown, out of range or in conflict; one message lists every fault found."""


class DataError(DDBError):
    """A data set, image, mask or metadata file cannot be used as it is."""


class ModelError(DDBError):
    """Weights are missing, damaged or of a shape that the backend cannot use."""


class StageFailed(DDBError):
    """A stage stopped: too many rows failed, or a loss was not finite. What was computed before is kept."""


class Interrupted(DDBError):
    """Ctrl-C or SIGTERM: the batch in flight was finished or dropped, everything before it is on disk."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # 128 + signal number
