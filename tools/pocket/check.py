"""Print the pocket weights' figures, world by world, and say which quality bars hold.

    python tools/pocket/check.py --run bird=runs/birds --run animal=runs/animals --run hair=runs/hair \
        --oracles build/pocket/oracles --out tools/pocket/figures/check.json

Bars, for each family that is asked for: oracle accuracy >= 0.97 (trained here if it is not there yet); the segmenter's
IoU for the family's noun >= 0.85 on unseen pictures, and empty masks in >= 99% of its empty places and of the pictures
of each other family. With a run on the family's world: the oracle agrees with the intended class of >= 85% of the
counterfactuals (hair: 80%) and of >= 95% of the kept ones, in both directions; pixels outside the feathered mask are
the source's. A run's classes stand in the order of the family's plans (landbird, waterbird; cat, dog; dark, blond).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.parquet as pq
from oracle import ACCURACY, balanced_renders, judge, load_oracle, train_oracle
from realism import realism_figures
from shares import known_family
from torch import nn

from ddb.backends import Found, Segmenter
from ddb.backends.registry import open_segmenter
from ddb.config import segment_config
from ddb.context import Context, Models
from ddb.data.images import read_image, read_mask
from ddb.data.patches import rebuild
from ddb.data.table import Dataset
from ddb.engine.workspace import Workspace
from ddb.pocket import models
from ddb.pocket.world import FAMILIES, Picture, render, sample_scene

CONTEXT = Context(cast(Dataset, None), 0, "cpu", "fp32", Path())
BATCH = 16
EMPTY_LIMIT = 0.005
"""A mask that covers less than this share of an image without the subject counts as empty (`segment.min_area`)."""
IOU, EMPTY, KEPT = 0.85, 0.99, 0.95
AGREEMENT = {"bird": 0.85, "animal": 0.85, "hair": 0.80}
"""Family -> share of the counterfactuals, before pruning, that must show what was asked."""
Figures = dict[str, float]


def unseen(family: str, count: int, seed: int, empty: bool = False) -> list[Picture]:
    """Pictures of a family: its plans and chimeras in turn, or empty places."""
    rng = np.random.default_rng(seed)
    plans = (*FAMILIES[family].plans, None)
    return [render(sample_scene(rng, family=family, plan=plans[i % 3], empty=empty)) for i in range(count)]


def segmenter_figures(segmenter: Segmenter, family: str, count: int, seed: int) -> Figures:
    """Mean IoU for the family's noun on unseen pictures, and shares of masks that stay empty where nothing is there: in
    its empty places, and in the pictures of every other family."""

    def found(pictures: list[Picture]) -> list[np.ndarray]:
        images = [p.image for p in pictures]
        names = [str(i) for i in range(len(images))]
        results = segmenter.segment(names, images, FAMILIES[family].noun, BATCH)
        return [one.mask for one in results if isinstance(one, Found)]

    def empty(pictures: list[Picture]) -> float:
        return float(np.mean([mask.mean() < EMPTY_LIMIT for mask in found(pictures)]))

    own = unseen(family, count, seed)
    iou = [(m & p.mask).sum() / (m | p.mask).sum() for m, p in zip(found(own), own, strict=True)]
    figures = {
        "segmenter_iou": float(np.mean(iou)),
        "segmenter_worst_tenth_iou": float(np.quantile(iou, 0.1)),
        "segmenter_empty_places": empty(unseen(family, count, seed + 1, empty=True)),
    }
    others = [name for name in FAMILIES if name != family]
    return figures | {f"segmenter_empty_{name}": empty(unseen(name, count, seed + 2)) for name in others}


def counterfactual_figures(family: str, run: Path, segmenter: Segmenter, model: nn.Module) -> Figures:
    """Agreement of the oracle with the intended class per direction, before and after pruning; the paste-back check;
    object sizes and distance to true counterfactuals."""
    workspace = Workspace.at(run)
    root, paths = _sources(run)
    candidates = [
        row | {"source": paths[row["source_id"]]}
        for row in workspace.table("inpaint").to_pylist()
        if row["status"] == "ok"
    ]
    kept = {row["id"] for row in workspace.table("prune").to_pylist() if row["keep"]}
    patches = workspace.payload("inpaint", "patch", [row["id"] for row in candidates])
    rebuilt = [
        rebuild(read_image(root, row["source"], 50), row["box"], patch)
        for row, patch in zip(candidates, patches, strict=True)
    ]
    images, regions = (np.stack(arrays) for arrays in zip(*rebuilt, strict=True))
    agrees = judge(model, images) == np.array([row["to_label"] for row in candidates])
    is_kept = np.array([row["id"] in kept for row in candidates])
    figures: Figures = {}
    for to_label in sorted({row["to_label"] for row in candidates}):
        direction = np.array([row["to_label"] == to_label for row in candidates])
        figures[f"agreement_to_{to_label}"] = float(agrees[direction].mean())
        figures[f"agreement_kept_to_{to_label}"] = (
            float(agrees[direction & is_kept].mean()) if (direction & is_kept).any() else 0.0
        )
        figures[f"kept_share_to_{to_label}"] = float(is_kept[direction].mean())
    figures["pixels_changed_outside_mask"] = float(_changed_outside(workspace, candidates, regions))
    return figures | realism_figures(family, segmenter, model, root, candidates, images)


def _sources(run: Path) -> tuple[Path, dict[str, str]]:
    """The data set's root, and the path in it of every sample."""
    root = Path(json.loads((run / "dataset.json").read_text())["root"])
    table = pq.read_table(run / "samples.parquet")
    names = dict(zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True))
    return root if root.is_absolute() else run / root, names


def _changed_outside(workspace: Workspace, candidates: list[dict], regions: np.ndarray) -> int:
    """Pixels that changed outside of the regions that stage segment gave."""
    order = {name: row for row, name in enumerate(workspace.table("segment", ["id"])["id"].to_pylist())}
    sources = sorted({row["source_id"] for row in candidates}, key=order.__getitem__)
    masks = dict(zip(sources, workspace.payload("segment", "mask", sources), strict=True))
    return sum(
        int((changed & ~read_mask(masks[row["source_id"]])).sum())
        for row, changed in zip(candidates, regions, strict=True)
    )


def bars(family: str, figures: Figures) -> dict[str, bool]:
    """Each quality bar that the figures allow to judge: does it hold?"""
    result = {}
    for name, value in figures.items():
        if name == "pixels_changed_outside_mask":
            result["pixels outside the mask untouched"] = value == 0
        elif (limit := _limit(family, name)) is not None:
            result[f"{name} >= {limit:.2f}"] = value >= limit
    return result


def _limit(family: str, name: str) -> float | None:
    """What a figure must reach at least; None for one that is only told."""
    beginnings = {
        "oracle_accuracy": ACCURACY,
        "segmenter_iou": IOU,
        "segmenter_empty": EMPTY,
        "agreement_kept": KEPT,
        "agreement_to": AGREEMENT[family],
    }
    return next((limit for beginning, limit in beginnings.items() if name.startswith(beginning)), None)


def family_figures(family: str, segmenter: Segmenter, oracle: Path, run: Path | None, count: int) -> Figures:
    if not (oracle / "oracle.safetensors").exists():
        train_oracle(family, oracle)
    model = load_oracle(oracle)
    images, truth = balanced_renders(family, 2000, 4242)
    figures = {"oracle_accuracy": float((judge(model, images) == truth).mean())}
    figures |= segmenter_figures(segmenter, family, count, seed=4243)
    return figures | (counterfactual_figures(family, run, segmenter, model) if run else {})


def runs_of(given: list[str]) -> dict[str, Path]:
    """Family -> run folder, from FAMILY=FOLDER."""
    runs = {}
    for item in given:
        family, equals, folder = item.partition("=")
        if not equals:
            raise SystemExit(f"--run {item}: write FAMILY=FOLDER, e.g. bird={item}")
        runs[known_family(family)] = Path(folder)
        if not (Path(folder) / "samples.parquet").exists():
            raise SystemExit(f"--run {item}: {folder} is no run folder")
    return runs


def main(args: argparse.Namespace) -> int:
    runs = runs_of(args.run)
    segmenter = open_segmenter(segment_config(weights=args.segmenter), CONTEXT, Models())
    report: dict[str, dict] = {}
    for family in args.families or FAMILIES:
        figures = family_figures(family, segmenter, args.oracles / family, runs.get(family), args.count)
        report[family] = {"figures": figures, "bars": bars(family, figures)}
        print(f"{family}")
        for name, value in figures.items():
            print(f"  {name:32s} {value:.4f}")
        for name, holds in report[family]["bars"].items():
            print(f"  {'holds' if holds else 'MISSED':8s} {name}")
    size = sum(p.stat().st_size for p in models.WEIGHTS.rglob("*") if p.is_file()) / 1e6
    print(f"weights that ship: {size:.1f} MB")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({**report, "weights_megabytes": size}, indent=1) + "\n")
    return 0 if all(all(world["bars"].values()) for world in report.values()) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", action="append", default=[], metavar="FAMILY=FOLDER", help="a finished run on that family's world"
    )
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), help="worlds to judge (default: all)")
    parser.add_argument("--oracles", type=Path, required=True, help="folder with an oracle a family, FAMILY/")
    parser.add_argument("--segmenter", default="pocket", help="a CLIPSeg folder (default: the weights that ship)")
    parser.add_argument("--count", type=int, default=400, help="pictures behind each of the segmenter's figures")
    parser.add_argument("--out", type=Path)
    raise SystemExit(main(parser.parse_args()))
