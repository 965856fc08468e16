"""Diffusion Driven Balancing: counterfactual images that teach a classifier what to look at.

Public names are resolved when they are used: `import ddb` imports neither torch nor any model library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddb.auditing.explain.run import explain
    from ddb.auditing.predictors.options import ModelOptions
    from ddb.auditing.run import Asked, audit
    from ddb.backends.classifiers.timm_classifier import load_classifier
    from ddb.config import RunConfig
    from ddb.config.load import load_config
    from ddb.data.sources.load import load_dataset
    from ddb.discovery.run import discover
    from ddb.pipeline import status, table
    from ddb.report.page import write_report
    from ddb.result import RunResult, open_run, run

__version__ = "0.1.0"

__all__ = [
    "Asked",
    "ModelOptions",
    "RunConfig",
    "RunResult",
    "audit",
    "discover",
    "explain",
    "load_classifier",
    "load_config",
    "load_dataset",
    "open_run",
    "run",
    "status",
    "table",
    "write_report",
]

_HOMES = {
    "Asked": "ddb.auditing.run",
    "ModelOptions": "ddb.auditing.predictors.options",
    "RunConfig": "ddb.config",
    "RunResult": "ddb.result",
    "audit": "ddb.auditing.run",
    "discover": "ddb.discovery.run",
    "explain": "ddb.auditing.explain.run",
    "load_classifier": "ddb.backends.classifiers.timm_classifier",
    "load_config": "ddb.config.load",
    "load_dataset": "ddb.data.sources.load",
    "open_run": "ddb.result",
    "run": "ddb.result",
    "status": "ddb.pipeline",
    "table": "ddb.pipeline",
    "write_report": "ddb.report.page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ddb' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
