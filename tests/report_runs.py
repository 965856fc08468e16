"""A run folder of plausible rows without any model: pocket scenes, their true counterfactuals as patches."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_sample_images

from ddb import records
from ddb.config import PruneConfig
from ddb.data.patches import patch_of
from ddb.engine.parts import write_rows
from ddb.engine.workspace import Workspace
from ddb.pocket.world import Picture, counterfactual_scene, render, sample_scene

RESULT = "f0"
"""The fingerprint of all stages."""
STAGES = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")
PLANS, PLACES = ("landbird", "waterbird"), ("forest", "lake")
REASONS = ("kept", "kept", "kept", "psi", "rho", "psi+rho", "over_budget")


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def mask_png(mask: np.ndarray) -> bytes:
    return png(mask.astype(np.uint8) * 255)


def box(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.where(mask)
    out = np.zeros_like(mask)
    out[max(0, rows.min() - 4) : rows.max() + 5, max(0, columns.min() - 4) : columns.max() + 5] = True
    return out


def noise(rng: np.random.Generator, side: int) -> np.ndarray:
    """Nothing compresses worse."""
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def photograph(rng: np.random.Generator, side: int) -> np.ndarray:
    """A part of one of scikit-learn's two photographs (427 x 640), about three quarters of its height, at this size."""
    whole = _photographs()[int(rng.integers(2))]
    edge = int(rng.integers(300, 400))
    top, left = int(rng.integers(427 - edge)), int(rng.integers(640 - edge))
    part = Image.fromarray(whole[top : top + edge, left : left + edge])
    return np.asarray(part.resize((side, side), Image.Resampling.LANCZOS))


@cache
def _photographs() -> list[np.ndarray]:
    return load_sample_images().images


def metrics(shift: float = 0.0) -> dict[str, Any]:
    """The whole of metrics.json; `shift` moves the figures after retraining."""

    def side(accuracies: Sequence[float], **others: float) -> dict[str, Any]:
        cells = zip(((0, 0), (0, 1), (1, 0), (1, 1)), (780, 780, 220, 220), accuracies, strict=True)
        groups = [
            {
                "label": y,
                "attribute": a,
                "n": n,
                "accuracy": p,
                "low": max(0, p - 0.6 / n**0.5),
                "high": min(1, p + 0.5 / n**0.5),
            }
            for (y, a), n, p in cells
        ]
        return {"worst_group_accuracy": min(accuracies), "groups": groups, **others}

    return {
        "before": side(
            (0.9921, 0.6537, 0.4173, 0.9591),
            mean_accuracy=0.7931,
            adjusted_mean_accuracy=0.9513,
            worst_class_accuracy=0.6882,
            ece=0.1411,
            auroc=0.8723,
        ),
        "after": side(
            (0.9744 + shift, 0.9423 + shift, 0.8727 + shift, 0.9364 + shift),
            mean_accuracy=0.9463 + shift,
            adjusted_mean_accuracy=0.9611,
            worst_class_accuracy=0.9046,
            ece=0.0312,
            auroc=0.9811,
        ),
        "in_distribution": {"before": 0.9542, "after": 0.9487},
        "counts": {"generated": 210, "pruned_psi": 61, "pruned_rho": 59, "kept": 90},
        "flip_rate": {"before": 0.2917, "after": 0.9333},
        "shortcut_reliance": {"before": 0.6218, "after": 0.3877},
        "selection": {"selection": "counterfactual", "epoch": 14, "value": 0.91},
        "leak": {
            "auroc": 0.871,
            "pairs": 52,
            "by_attribute": [
                {"attribute": 0, "n": 90, "label_auroc": 0.62},
                {"attribute": 1, "n": 90, "label_auroc": 0.58},
            ],
            "leaks": False,
        },
    }


class Folder(Workspace):
    """A run folder whose payload reads are counted in `asked`, by stage and column."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, STAGES)
        self.asked: Counter[tuple[str, str]] = Counter()

    def payload(self, stage: str, column: str, ids: Sequence[str]) -> Iterator[Any]:
        for blob in super().payload(stage, column, ids):
            self.asked[stage, column] += 1
            yield blob


def write_stage(run: Path, stage: str, rows: list[dict[str, Any]], schema: pa.Schema) -> Path:
    """A finished stage, as the engine leaves it; its result is named RESULT."""
    folder = run / f"{STAGES.index(stage) + 1}-{stage}" / RESULT
    folder.mkdir(parents=True)
    with (folder / "part-00000.parquet").open("wb") as file:
        write_rows(file, schema, rows)
    (folder / "plan.json").write_text(json.dumps({"key": "k", "planned": len(rows)}))
    pq.write_table(pa.table({"id": pa.array([row["id"] for row in rows], pa.string())}), folder / "planned.parquet")
    done = {"key": "k", "digest": "0", "rows": len(rows), "errors": 0}
    (folder / "done.json").write_text(json.dumps(done))
    return folder


def make_run(
    root: Path,
    *,
    stages: Sequence[str] = STAGES,
    classes: tuple[str, str] = PLANS,
    attributes: tuple[str, ...] = PLACES,
    per_direction: int = 14,
    side: int = 64,
    tokens: bool = True,
    draw: Callable[[np.random.Generator, int], np.ndarray] | None = None,
) -> Folder:
    """Write a run folder with the given stages finished under the present settings; the data set lies beside it.
    `draw`: gives the sources' pixels in place of pocket scenes (generator and side -> uint8 [side, side, 3])."""
    run, data = root / "run", root / "data"
    (run).mkdir(parents=True)
    (data / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    pictures: dict[str, Picture] = {}
    samples = []
    for label, plan in enumerate(PLANS):
        for n in range(per_direction):
            picture = render(sample_scene(rng, plan=plan, place=PLACES[label]), side)
            if draw is not None:
                picture.image[:] = draw(rng, side)
            pictures[f"{label}{n:03d}"] = picture
            name = f"train/{label}{n:03d}.png"
            Image.fromarray(picture.image).save(data / name)
            samples.append(
                {"id": f"{label}{n:03d}", "image": name, "label": label, "attribute": label, "split": "train"}
            )
    for n in range(400):
        label = int(n >= 300)
        samples.append(
            {"id": f"x{n:03d}", "image": f"train/x{n}.png", "label": label, "attribute": None, "split": "train"}
        )
    pq.write_table(pa.Table.from_pylist(samples, schema=records.SAMPLES), run / "samples.parquet")
    about = {"root": str(data), "classes": list(classes), "attributes": list(attributes), "phrase": "bird"}
    (run / "dataset.json").write_text(json.dumps(about))
    (run / "config.yaml").write_text("name: pocket-waterbirds\nseed: 0\nerm:\n  epochs: 20\n  lr: 0.01\n")
    versions = {"ddb": "0.1.0", "python": "3.11.8", "device": "cpu", "packages": {"torch": "2.14.1"}}
    (run / "environment.json").write_text(json.dumps(versions))
    tables = stage_rows(rng, samples, pictures, data, tokens)
    folders = {stage: write_stage(run, stage, *tables[stage]) for stage in stages}
    results = {stage: {"fingerprint": RESULT, "key": "k"} for stage in stages}
    (run / "current.json").write_text(json.dumps({"stages": STAGES, "results": results}))
    for number, stage in enumerate(STAGES, start=1):
        (run / f"{number}-{stage}").mkdir(exist_ok=True)
    if "prune" in stages:
        settings = PruneConfig().model_dump(mode="json")
        budgets, targets = {"0>1": per_direction, "1>0": per_direction}, {"0": [1], "1": [0]}
        inputs = {
            "settings": settings,
            "means": {"0": 0.5, "1": 0.6},
            "budgets": budgets,
            "targets": targets,
            "cell": 10,
        }
        (folders["prune"] / "inputs.json").write_text(json.dumps(inputs))
        rule = {"psi_rule": "literal", "rho_rule": "value", "fallback": []}
        summary = [{"from_label": c, "to_label": 1 - c, **rule} for c in (0, 1)]
        (folders["prune"] / "summary.json").write_text(json.dumps(summary))
    if "evaluate" in stages:
        (folders["evaluate"] / "metrics.json").write_text(json.dumps(metrics()))
    events = [
        {"event": "finished", "stage": s, "result": RESULT, "seconds": 7.5 * (n + 1)}
        for n, s in enumerate(STAGES)
        if s in stages
    ]
    (run / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return Folder(run)


def stage_rows(
    rng: np.random.Generator,
    samples: list[dict[str, Any]],
    pictures: dict[str, Picture],
    data: Path,
    tokens: bool,
) -> dict[str, tuple[list[dict[str, Any]], pa.Schema]]:
    ok = {"status": "ok", "error": ""}
    predictions, masks, candidates, scores, verdicts = [], [], [], [], []
    for sample in samples:
        loss = float(np.exp(rng.normal(-5 if sample["id"] in pictures else -2, 1.6)))
        p = float(np.exp(-loss))
        split = [p, 1 - p] if sample["label"] == 0 else [1 - p, p]
        row = {"id": sample["id"], "label": sample["label"], "split": "train", "loss": loss}
        predictions.append({**row, "probabilities": split, "correct": p > 0.5, **ok})
    for n, (source, picture) in enumerate(pictures.items()):
        label, repaint = int(source[0]), box(picture.mask)
        images = {"object_mask": mask_png(picture.mask), "mask": mask_png(repaint)}
        masks.append({"id": source, **images, "score": 0.9, "area": float(repaint.mean()), **ok})
        other = render(counterfactual_scene(picture.scene, rng, PLANS[1 - label]), picture.image.shape[0])
        changed = box(picture.mask | other.mask)
        other.image[~changed] = picture.image[~changed]
        edges, patch = patch_of(picture.image, other.image, changed)
        digest = hashlib.sha256((data / f"train/{source}.png").read_bytes()).hexdigest()
        key = records.candidate_id(source, 1 - label, 0)
        head = {
            "id": key,
            "source_id": source,
            "source_sha256": digest,
            "from_label": label,
            "to_label": 1 - label,
            "variant": 0,
            "seed": n,
        }
        drawn = {
            "box": list(edges),
            "height": changed.shape[0],
            "width": changed.shape[1],
            "patch": patch,
            "prompt": "a photo of a <ddb-1> bird",
            "model": "pocket",
        }
        candidates.append({**head, **drawn, **ok})
        heat = np.abs(other.image.astype(np.int32) - picture.image).sum(axis=2).clip(0, 255).astype(np.uint8)
        seen = {"psi_from": float(rng.random()), "psi_to": 0.5, "psi_from_source": 0.97, "rho": float(rng.normal(2, 3))}
        scores.append({"id": key, **seen, "exact": True, "area": float(changed.mean()), "attribution": png(heat), **ok})
        reason = REASONS[n % len(REASONS)]
        verdicts.append({"id": key, "keep": reason == "kept", "reason": reason, **ok})
    masks.append(
        {
            "id": "x000",
            "object_mask": b"",
            "mask": b"",
            "score": 0.0,
            "area": 0.0,
            "status": "no_mask",
            "error": "nothing found",
        }
    )
    learned = [
        {
            "id": str(c),
            "label": c,
            "token": f"<ddb-{c}>" if tokens else "",
            "file": "",
            "representatives": ids,
            "masks": [mask_png(pictures[i].mask) for i in ids],
            "losses": [0.4, 0.31, 0.28, 0.275] if tokens else [],
            **ok,
        }
        for c in (0, 1)
        for ids in [[i for i in pictures if i[0] == str(c)][:8]]
    ]
    fit = [{"id": "classifier", "epoch": 14, "selection": "counterfactual", "value": 0.91, **ok}]
    outcome = [{"id": "t0", "label": 0, "split": "test", "before": [0.9, 0.1], "after": [0.8, 0.2], **ok}]
    return {
        "erm": (predictions, records.PREDICTIONS),
        "invert": (learned, records.TOKENS),
        "segment": (masks, records.MASKS),
        "inpaint": (candidates, records.CANDIDATES),
        "score": (scores, records.SCORES),
        "prune": (verdicts, records.VERDICTS),
        "retrain": (fit, records.FITS),
        "evaluate": (outcome, records.OUTCOMES),
    }
