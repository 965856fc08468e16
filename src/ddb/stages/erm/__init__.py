"""Stage 1, ERM: train the ERM classifier, or adopt a trained one (`erm.classifier`), and record its predictions on
training and validation images.

Artefacts: `classifier/`; of a trained one `fit.json` (loss and figures of every epoch), of an adopted one
`adopted.json` (where it was taken from); and, where `rank_epoch` is set, that epoch's weights: the loss column ranks
the samples and then comes from them, all else from the kept epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from ddb.config import ErmConfig
from ddb.context import Context, Models
from ddb.records import PREDICTIONS
from ddb.stage import Fixed, Stage, Tables, Worker

PREDICT_BATCH = 128


def stage(
    context: Context, settings: ErmConfig, content: Mapping[str, object], group_labels: pa.Table | None = None
) -> Stage:
    """A row per training and validation image. `group_labels` (columns id, attribute; validation ids) is for epoch
    selection by groups alone."""
    dataset = context.dataset
    samples = pa.concat_tables([dataset.split("train"), dataset.split("val")])
    ids = samples["id"].to_pylist()

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        from ddb.stages.erm import worker

        work = worker.Training(context, settings, group_labels, PREDICT_BATCH)
        return worker.open_worker(work, samples, folder)

    def finish(tables: Tables, folder: Path) -> None:
        from ddb.stages.erm import worker

        worker.finish(tables, folder)

    return Stage(
        name="erm",
        schema=PREDICTIONS,
        needs={},
        content={
            **content,
            "data": dataset.identity(["train", "val"]),
            "groups": None if group_labels is None else group_labels.to_pydict(),
        },
        plan=lambda tables: ids,
        open=open_worker,
        batch_size=PREDICT_BATCH,
        finish=finish,
    )
