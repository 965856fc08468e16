"""Stage 8, evaluate: predictions of the classifiers before (ERM) and after (retrained) on test images, and figures.

The only stage that sees attributes. Artefacts: `metrics.json`: figures `before` and `after` per group, `counts`,
`selection`, and three measures of shortcut learning: `flip_rate`, `shortcut_reliance`, `leak`; `changes.parquet`:
attribution maps of test images that were repaired or newly broken (`changes.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ddb.config import DataConfig, EvaluateConfig
from ddb.context import Context, Models
from ddb.data.table import Dataset
from ddb.records import FAMILIAR, OUTCOMES
from ddb.stage import Fixed, Need, Stage, Tables, Worker


def stage(
    context: Context, dataset: Dataset, settings: EvaluateConfig, data: DataConfig, content: Mapping[str, object]
) -> Stage:
    """A row per test image and in-distribution image. `dataset` with its attributes. Predictions are computed in
    float32, whatever the setting `precision`."""
    ids = dataset.split("test")["id"].to_pylist()
    familiar = [f"{FAMILIAR}/{row:06d}" for row in range(settings.in_distribution)]

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        from ddb.stages.evaluate import worker

        return worker.open_worker(
            worker.Evaluating(context, dataset, data, familiar, settings.maps), tables, fixed.batch_size
        )

    def finish(tables: Tables, folder: Path) -> None:
        from ddb.stages.evaluate import worker

        worker.finish(worker.Evaluating(context, dataset, data, familiar, settings.maps), tables, folder)

    return Stage(
        name="evaluate",
        schema=OUTCOMES,
        needs=dict.fromkeys(("erm", "segment", "inpaint", "prune", "retrain"), Need.TABLE),
        content={
            **content,
            "pocket": data.pocket.model_dump(mode="json") if familiar else None,
            "data": dataset.identity(["train", "val", "test"]),
            **({"discovered": _discovered(dataset)} if dataset.discovered else {}),
        },
        extent={"in_distribution": settings.in_distribution},
        plan=lambda tables: ids + familiar,
        open=open_worker,
        batch_size=settings.batch_size,
        finish=finish,
    )


def _discovered(dataset: Dataset) -> list[object]:
    """The names of the discovered groups, and the group of every sample."""
    return [list(dataset.discovered), dataset.samples["discovered"].to_pylist()]
