"""Print the pocket weights' figures and say which quality bars hold.

    python tools/pocket/check.py --run runs/demo --oracle build/pocket/oracle --out tools/pocket/figures/check.json

Bars: oracle accuracy >= 0.97; segmenter IoU >= 0.85 on unseen images and empty masks where there is no bird; the
oracle agrees with the intended class of >= 85% of a run's counterfactuals and of >= 95% of the kept ones, in both
directions; pixels outside the feathered mask are the source's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from oracle import balanced_renders, judge, load_oracle, train_oracle

from ddb.backends.registry import open_segmenter
from ddb.config import SegmentConfig
from ddb.data.images import read_image, read_mask, read_png
from ddb.engine.workspace import Workspace
from ddb.pocket import models
from ddb.pocket.world import render, sample_scene

EMPTY_LIMIT = 0.005
"""A mask that covers less than this share of an image without a bird counts as empty (`segment.min_area`)."""


def segmenter_figures(count: int, seed: int) -> dict[str, float]:
    """Mean IoU for "bird" on unseen pictures, and the share of pictures without a bird whose mask stays empty."""
    segmenter = open_segmenter(SegmentConfig(weights="pocket"), "cpu", "fp32")
    rng = np.random.default_rng(seed)
    birds = [render(sample_scene(rng, plan=("landbird", "waterbird", None)[i % 3])) for i in range(count)]
    places = [render(sample_scene(rng, empty=True)) for _ in range(count)]
    found = segmenter.segment([str(i) for i in range(count)], [p.image for p in birds], "bird")
    iou = [(f.mask & p.mask).sum() / (f.mask | p.mask).sum() for f, p in zip(found, birds, strict=True)]
    nothing = segmenter.segment([str(i) for i in range(count)], [p.image for p in places], "bird")
    return {
        "segmenter_iou": float(np.mean(iou)),
        "segmenter_worst_tenth_iou": float(np.quantile(iou, 0.1)),
        "segmenter_empty": float(np.mean([f.mask.mean() < EMPTY_LIMIT for f in nothing])),
    }


def counterfactual_figures(run: Path, oracle_folder: Path) -> dict[str, float]:
    """Agreement of the oracle with the intended class per direction, before and after pruning; the paste-back check."""
    workspace = Workspace.at(run)
    candidates = [row for row in workspace.table("inpaint").to_pylist() if row["status"] == "ok"]
    kept = {row["id"] for row in workspace.table("prune").to_pylist() if row["keep"]}
    images = np.stack([read_png(row["image"]) for row in candidates])
    agrees = judge(load_oracle(oracle_folder), images) == np.array([row["to_label"] for row in candidates])
    is_kept = np.array([row["id"] in kept for row in candidates])
    figures: dict[str, float] = {}
    for to_label in sorted({row["to_label"] for row in candidates}):
        direction = np.array([row["to_label"] == to_label for row in candidates])
        figures[f"agreement_to_{to_label}"] = float(agrees[direction].mean())
        figures[f"agreement_kept_to_{to_label}"] = (
            float(agrees[direction & is_kept].mean()) if (direction & is_kept).any() else 0.0
        )
        figures[f"kept_share_to_{to_label}"] = float(is_kept[direction].mean())
    figures["pixels_changed_outside_mask"] = float(_changed_outside(run, candidates, images))
    return figures


def _changed_outside(run: Path, candidates: list[dict], images: np.ndarray) -> int:
    root = Path(json.loads((run / "dataset.json").read_text())["root"])
    root = root if root.is_absolute() else run / root
    paths = dict(zip(*(pq.read_table(run / "samples.parquet")[c].to_pylist() for c in ("id", "image")), strict=True))
    wrong = 0
    for row, image in zip(candidates, images, strict=True):
        source = read_image(root, paths[row["source_id"]], 50)
        wrong += int((image != source)[~read_mask(row["changed"])].sum())
    return wrong


def bars(figures: dict[str, float]) -> dict[str, bool]:
    """Each quality bar: does it hold?"""
    result = {
        "oracle accuracy >= 0.97": figures["oracle_accuracy"] >= 0.97,
        "segmenter IoU >= 0.85": figures["segmenter_iou"] >= 0.85,
        "segmenter empty without a bird >= 0.99": figures["segmenter_empty"] >= 0.99,
    }
    for name, value in figures.items():
        if name.startswith("agreement_kept"):
            result[f"{name} >= 0.95"] = value >= 0.95
        elif name.startswith("agreement"):
            result[f"{name} >= 0.85"] = value >= 0.85
    if "pixels_changed_outside_mask" in figures:
        result["pixels outside the mask untouched"] = figures["pixels_changed_outside_mask"] == 0
    return result


def main(args: argparse.Namespace) -> int:
    if not (args.oracle / "oracle.safetensors").exists():
        train_oracle(args.oracle, count=8000, epochs=4, seed=0)
    unseen, truth = balanced_renders(2000, 4242)
    figures = {"oracle_accuracy": float((judge(load_oracle(args.oracle), unseen) == truth).mean())}
    figures |= segmenter_figures(count=400, seed=4243)
    if args.run:
        figures |= counterfactual_figures(args.run, args.oracle)
    files = [p for p in models.WEIGHTS.rglob("*") if p.is_file()]
    figures["weights_megabytes"] = sum(p.stat().st_size for p in files) / 1e6
    for name, value in figures.items():
        print(f"{name:32s} {value:.4f}")
    verdicts = bars(figures)
    for name, holds in verdicts.items():
        print(f"{'holds' if holds else 'MISSED':8s} {name}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"figures": figures, "bars": verdicts}, indent=1) + "\n")
    return 0 if all(verdicts.values()) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="a finished run on the pocket world")
    parser.add_argument("--oracle", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    raise SystemExit(main(parser.parse_args()))
