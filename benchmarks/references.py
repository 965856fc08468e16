"""ERM, ddb and its references on a built-in world: worst-group and in-distribution accuracy over seeds, as a table.

    python benchmarks/references.py pocket-waterbirds --seeds 5 --out runs/references-waterbirds

Every seed draws its own data set and trains one ERM classifier, which all rows share. Rows:
    erm         the plain classifier
    ddb         the method, as the preset says
    unpruned    the same counterfactuals, all of them
    copy-paste  true masks, and the object of another image pasted in: no generator
    oracle      true renders of the counterfactual, as many as ddb makes: what a perfect generator would reach
Runs are resumable: start the command again and it goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ddb import pipeline
from ddb.bench.fits.variants import take_over, upto
from ddb.config import RunConfig
from ddb.config.load import load_config
from ddb.context import Models
from ddb.data.images import read_image
from ddb.data.patches import patch_of
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.engine import journal
from ddb.engine.progress import open_progress
from ddb.engine.workspace import Workspace
from ddb.learn.seeds import seed_of
from ddb.pocket.datasets import oracle, read_scenes
from ddb.pocket.miniatures import MINIATURES
from ddb.records import OK, split_candidate_id
from ddb.stage import Fixed, Row, Stage, Tables, Worker
from ddb.stages.inpaint import origin

PRESETS = tuple(f"pocket-{world}" for world in MINIATURES)
NO_PRUNING = ("prune.psi=off", "prune.rho=off", "prune.max_rounds=1")
NO_GENERATOR = ("invert.representatives=0", "inpaint.paste=region", "segment.backend=given")


def settings(preset: str, seed: int, *more: str) -> RunConfig:
    return load_config(preset, [f"seed={seed}", f"data.pocket.seed={seed}", *more])


def run_variant(base: Path, out: Path, config: RunConfig, shared: Sequence[str]) -> Path:
    """Run `config` in `out`, taking the finished stages `shared` over from `base`."""
    take_over(base, out, shared)
    return pipeline.run(config, out)


def run_oracle(base: Path, out: Path, config: RunConfig) -> Path:
    """Like `run_variant`, but the renderer draws the counterfactuals."""
    take_over(base, out, ("erm",))
    dataset, progress = load_dataset(config.data, out / "cache"), open_progress(sys.stderr)

    def change(stages: list[Stage]) -> list[Stage]:
        return [_rendered(stage, dataset, config) if stage.name == "inpaint" else stage for stage in stages]

    with journal.locked(out):
        workspace = Workspace(out, pipeline.STAGES)
        setup = pipeline.set_up(config, dataset, workspace, progress, change)
        workspace.settle(setup.stages)
        pipeline.run_stages(workspace, pipeline.STAGES, setup, config.prune.max_rounds)
    shutil.copyfile(workspace.folder("evaluate") / "metrics.json", out / "metrics.json")
    return out


def _rendered(stage: Stage, dataset: Dataset, config: RunConfig) -> Stage:
    """The inpaint stage with the renderer in the generator's place."""
    scenes, plans = read_scenes(dataset.root), MINIATURES[config.data.pocket.world].plans

    def row(name: str) -> Row:
        source, to_label, variant = split_candidate_id(name)
        item_seed = seed_of(config.seed, source, to_label, variant)
        image = oracle(scenes[source], plans[to_label], item_seed).image
        original = read_image(dataset.root, source)
        box, patch = patch_of(original, image, (image != original).any(axis=2))
        return {
            **origin(name, dataset),
            "seed": item_seed,
            "box": list(box),
            "height": original.shape[0],
            "width": original.shape[1],
            "patch": patch,
            "prompt": "",
            "model": "renderer",
            "status": OK,
            "error": "",
        }

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        return lambda batch: [row(name) for name in batch if name is not None]

    return replace(stage, open=open_worker, content={**stage.content, "generator": "renderer"})


def _masks(run: Path) -> Path:
    return Path(json.loads((run / "dataset.json").read_text())["root"]) / "masks"


def run_seed(preset: str, seed: int, out: Path) -> dict[str, dict[str, float]]:
    """All rows of one seed: name -> {wga, in_distribution, mean, kept}."""
    base = pipeline.run(settings(preset, seed), out / f"{seed}-ddb")
    unpruned = run_variant(base, out / f"{seed}-unpruned", settings(preset, seed, *NO_PRUNING), upto("score"))
    given = (*NO_GENERATOR, f"segment.masks={_masks(base)}", *NO_PRUNING)
    paste = settings(preset, seed, "inpaint.backend=copy_paste", *given)
    pasted = run_variant(base, out / f"{seed}-copy-paste", paste, ("erm",))
    rendered = run_oracle(base, out / f"{seed}-oracle", settings(preset, seed, *given))
    rows = {"erm": _figures(base, "before"), "ddb": _figures(base, "after")}
    for name, folder in (("unpruned", unpruned), ("copy-paste", pasted), ("oracle", rendered)):
        rows[name] = _figures(folder, "after")
    return rows


def _figures(run: Path, when: str) -> dict[str, float]:
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return {
        "wga": metrics[when]["worst_group_accuracy"],
        "mean": metrics[when]["mean_accuracy"],
        "in_distribution": metrics["in_distribution"][when],
        "kept": float(metrics["counts"]["kept"]) if when == "after" else 0.0,
    }


def interval(values: Sequence[float]) -> str:
    """Mean and half-width of the 95% t-interval over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.3f}"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.3f} ± {half:.3f}"


def table(results: list[dict[str, dict[str, float]]]) -> str:
    """The table in Markdown."""
    lines = [
        "| method | worst-group accuracy | mean accuracy | in-distribution accuracy | counterfactuals |",
        "|---|---|---|---|---|",
    ]
    for name in results[0]:
        column: Callable[[str], list[float]] = lambda key, name=name: [r[name][key] for r in results]  # noqa: E731
        cells = [interval(column(key)) for key in ("wga", "mean", "in_distribution")]
        lines.append(f"| {name} | {' | '.join(cells)} | {statistics.fmean(column('kept')):.0f} |")
    return "\n".join(lines)


def bars(results: list[dict[str, dict[str, float]]]) -> dict[str, bool]:
    """The figures that the project holds itself to on pocket-waterbirds."""
    mean = {
        name: {key: float(np.mean([r[name][key] for r in results])) for key in results[0][name]} for name in results[0]
    }
    return {
        "ERM in-distribution >= 0.93": mean["erm"]["in_distribution"] >= 0.93,
        "ERM worst group <= 0.60": mean["erm"]["wga"] <= 0.60,
        "ddb worst group >= 0.85": mean["ddb"]["wga"] >= 0.85,
        "ddb >= 93% of oracle": mean["ddb"]["wga"] >= 0.93 * mean["oracle"]["wga"],
        "ddb >= ERM + 0.25 in every seed": all(r["ddb"]["wga"] >= r["erm"]["wga"] + 0.25 for r in results),
        "in-distribution down by <= 0.03": mean["erm"]["in_distribution"] - mean["ddb"]["in_distribution"] <= 0.03,
        "pruned beats unpruned": mean["ddb"]["wga"] > mean["unpruned"]["wga"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    results = []
    for seed in range(args.seeds):
        results.append(run_seed(args.preset, seed, args.out))
        print(json.dumps({"seed": seed, **results[-1]}), flush=True)
    print(table(results))
    if args.preset == "pocket-waterbirds":
        for name, holds in bars(results).items():
            print(f"{'holds' if holds else 'MISSED':8s} {name}")
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
