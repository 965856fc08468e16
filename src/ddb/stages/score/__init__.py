"""Stage 5, score: psi and rho of every candidate under the ERM classifier, independent of any threshold (method section
6). psi are its class probabilities; rho is the contribution of the repainted region to the new class.

rho = sum over the mask of the integrated gradients of f_to from the source x to the counterfactual x'. At the
classifier's own input the mask is every pixel that a repainted pixel can influence; where all pixels outside it are
the source's, the sum is f_to(x') - f_to(x) exactly (`exact`). f(x) is in the source's row of stage erm, computed from
the same pixels, so that a candidate takes one forward pass instead of `ig_steps` forward and backward ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow.compute as pc

from ddb.config import ScoreConfig
from ddb.context import Context, Models
from ddb.records import OK, SCORES, candidate_title
from ddb.stage import Fixed, Need, Stage, Tables, Worker

CLASSIFIER = "erm classifier"
"""Name of the model in `Models`."""


def stage(context: Context, settings: ScoreConfig, content: Mapping[str, object]) -> Stage:
    """A row per candidate with status ok. Scores are computed in float32, whatever the setting `precision`."""

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        from ddb.backends.classifiers.timm_classifier import load_classifier
        from ddb.stages.score import worker

        loaded = models.open(CLASSIFIER, lambda: load_classifier(tables.folder("erm") / "classifier"))
        return worker.open_worker(context, settings, loaded, tables, fixed)

    return Stage(
        name="score",
        schema=SCORES,
        needs={"erm": Need.TABLE, "inpaint": Need.ROWS},
        content={**content, "data": context.dataset.identity(["train"])},
        plan=painted,
        open=open_worker,
        batch_size=settings.batch_size,
        models=(CLASSIFIER,),
        title=lambda name: candidate_title(name, context.dataset.classes),
    )


def painted(tables: Tables) -> list[str]:
    """Ids of the candidates that were painted."""
    rows = tables.table("inpaint", ["id", "status"])
    ids: list[str] = rows.filter(pc.equal(rows["status"], OK))["id"].to_pylist()
    return ids
