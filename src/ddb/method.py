"""The method as an ordered list of stages, made from a configuration.

Making them opens nothing: torch and the model libraries are imported when a stage opens, so that a finished run and
`ddb run --dry-run` answer without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from ddb.backends.content import hashes_kept
from ddb.backends.registry import reference_identities
from ddb.config import FitConfig, RunConfig
from ddb.config.fit import GROUPED
from ddb.config.marks import content_of, references_of
from ddb.config.section import STAGE_NAMES
from ddb.context import Context
from ddb.data.table import Dataset
from ddb.engine.workspace import Workspace
from ddb.refill import retries
from ddb.stage import Stage, Tables
from ddb.stages import erm, evaluate, inpaint, invert, prune, retrain, score, segment

HASHES = "hashes.json"
"""File of the run's cache with the hashes of weights and masks."""


def build_stages(config: RunConfig, dataset: Dataset, workspace: Workspace) -> list[Stage]:
    """All stages, in order. None but the evaluation is given attributes; a fit whose epoch is chosen by worst-group
    accuracy gets the given or the discovered groups of the validation images."""
    context = context_of(config, dataset, workspace.root / "cache")
    blind, per_class = context.dataset, config.inpaint.per_class
    content = _content(config, dataset, context.cache / HASHES)
    extent = {"per_class": per_class, "max_rounds": config.prune.max_rounds}

    def labels_for(fit: FitConfig) -> pa.Table | None:
        """Validation ids with the groups that the rule compares."""
        if fit.selection not in GROUPED:
            return None
        seen = dataset.with_discovered_as_attributes() if fit.selection == "discovered" else dataset
        return seen.split("val").select(["id", "attribute"])

    def retry(tables: Tables) -> list[tuple[str, int]]:
        return retries(workspace, blind, config)

    return [
        erm.stage(context, config.erm, content["erm"], labels_for(config.erm)),
        invert.stage(context, invert.Learning(config.invert, config.segment, config.inpaint), content["invert"]),
        segment.stage(context, config.segment, config.inpaint, content["segment"]),
        inpaint.stage(context, config.inpaint, config.segment, content["inpaint"], extent, retry),
        score.stage(context, config.score, content["score"]),
        prune.stage(config.prune, blind.classes, per_class, content["prune"]),
        retrain.stage(context, config.retrain, config.erm, content["retrain"], labels_for(config.retrain)),
        evaluate.stage(context, dataset, config.evaluate, config.data, content["evaluate"]),
    ]


def context_of(config: RunConfig, dataset: Dataset, cache: Path) -> Context:
    """What every stage reads besides its settings."""
    return Context(dataset.without_attributes(), config.seed, config.device, config.precision, cache)


def _content(config: RunConfig, dataset: Dataset, store: Path) -> dict[str, dict[str, object]]:
    """What decides the rows of each stage by the settings: values marked content, and the identities of the files and
    weights that settings name; `store` keeps their hashes."""
    found: dict[str, dict[str, object]] = {}
    with hashes_kept(store):
        for name in STAGE_NAMES:
            identities: Mapping[str, str] = reference_identities(config, references_of(config, name), dataset)
            found[name] = {**content_of(config, name), **identities}
    return found
