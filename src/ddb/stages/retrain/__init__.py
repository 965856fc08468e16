"""Stage 7, retraining with the kept counterfactuals: L = L_train + sum_c gamma_c L_gen_c (method section 7, paper).

Artefacts: `classifier/` and `fit.json`. With epoch selection "counterfactual" a fifth of the kept pairs (by the hash of
their source) is held out from training and used instead of group labels to select the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from ddb.config import ErmConfig, RetrainConfig
from ddb.context import Context, Models
from ddb.learn.selection import loss_weights
from ddb.records import FITS
from ddb.stage import Fixed, Need, Stage, Tables, Worker

ROW = "classifier"


def stage(
    context: Context,
    settings: RetrainConfig,
    erm: ErmConfig,
    content: Mapping[str, object],
    group_labels: pa.Table | None = None,
) -> Stage:
    """One row. `group_labels` (columns id, attribute; validation ids) is for epoch selection by groups alone."""
    gammas = loss_weights(settings.gammas, len(context.dataset.classes))

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        from ddb.stages.retrain import worker

        work = worker.Retraining(context, settings, erm, gammas, group_labels)
        return worker.open_worker(work, tables, folder)

    def finish(tables: Tables, folder: Path) -> None:
        from ddb.stages.retrain import worker

        worker.finish(tables, folder)

    return Stage(
        name="retrain",
        schema=FITS,
        needs={"erm": Need.TABLE, "inpaint": Need.TABLE, "prune": Need.TABLE},
        content={
            **content,
            "data": context.dataset.identity(["train", "val"]),
            "groups": None if group_labels is None else group_labels.to_pydict(),
        },
        plan=lambda tables: [ROW],
        open=open_worker,
        batch_size=1,
        finish=finish,
    )
