"""What options of painting and inversion cost in quality on a built-in world, as the oracle sees it.

Beside the passes of the UNet an image: its agreement with the intended class, Fréchet distance to true counterfactuals.

    python benchmarks/painting_options.py pocket-waterbirds --oracle build/pocket/oracles/bird --out runs/options \
        "" inpaint.guidance_end=0.5 "inpaint.scheduler=unipc inpaint.steps=8"

Each argument at the end is a row: settings beside the preset's, separated by spaces ("": the preset). All rows share
the run folder `--out` and its data set (seed 100, which the presets are chosen with), so that nothing is computed
twice. The oracle is trained by `tools/pocket/oracle.py`. Quality before pruning.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools" / "pocket"))

from ddb import pipeline
from ddb.backends.registry import open_segmenter
from ddb.config import LatentDiffusionConfig, RunConfig
from ddb.config.load import load_config
from ddb.context import Models
from ddb.data.images import read_image
from ddb.data.patches import rebuild
from ddb.data.table import Dataset
from ddb.engine import journal
from ddb.engine.progress import Lines
from ddb.engine.workspace import Workspace
from ddb.method import context_of
from ddb.run_folder import open_run

SEED = 100
FAMILIES = {"pocket-waterbirds": "bird", "pocket-metashift": "animal", "pocket-celeba": "hair"}
HEAD = ("settings", "passes an image", "agreement", "Fréchet distance (floor)", "object, pixels (true)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=list(FAMILIES))
    parser.add_argument("--oracle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-class", type=int, default=96)
    parser.add_argument("rows", nargs="+", metavar="SETTINGS")
    asked = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    for row in asked.rows:
        fixed = [f"seed={SEED}", f"data.pocket.seed={SEED}", f"inpaint.per_class={asked.per_class}"]
        config = load_config(asked.preset, [*fixed, *row.split()])
        cells = [row or "preset", *measured(config, FAMILIES[asked.preset], asked.oracle, asked.out)]
        print(f"| {' | '.join(cells)} |", flush=True)


def measured(config: RunConfig, family: str, oracle: Path, out: Path) -> Sequence[str]:
    """Paint with these settings; the cells of their row, each with a value for every direction."""
    from oracle import judge, load_oracle
    from realism import realism_figures

    dataset, workspace = painted(config, out)
    rows = [row for row in workspace.table("inpaint").to_pylist() if row["status"] == "ok"]
    paths = dict(zip(dataset.samples["id"].to_pylist(), dataset.samples["image"].to_pylist(), strict=True))
    rows = [row | {"source": paths[row["source_id"]]} for row in rows]
    patches = workspace.payload("inpaint", "patch", [row["id"] for row in rows])
    images = np.stack(
        [
            rebuild(read_image(dataset.root, row["source"]), row["box"], patch)[0]
            for row, patch in zip(rows, patches, strict=True)
        ]
    )
    model, wanted = load_oracle(oracle), np.array([row["to_label"] for row in rows])
    agrees = judge(model, images) == wanted
    segmenter = open_segmenter(config.segment, context_of(config, dataset, out / "cache"), Models())
    figures = realism_figures(family, segmenter, model, dataset.root, rows, images)
    directions = sorted(set(wanted.tolist()))
    return [
        str(passes(config)),
        " / ".join(f"{agrees[wanted == to].mean():.1%}" for to in directions),
        " / ".join(f"{figures[f'frechet_to_{to}']:.1f} ({figures[f'frechet_floor_{to}']:.1f})" for to in directions),
        " / ".join(
            f"{figures[f'object_pixels_to_{to}']:.0f} ({figures[f'object_pixels_true_{to}']:.0f})" for to in directions
        ),
    ]


def painted(config: RunConfig, out: Path) -> tuple[Dataset, Workspace]:
    """The run with its first four stages finished."""
    quiet, until = Lines(io.StringIO()), pipeline.STAGES.index("inpaint") + 1
    with journal.locked(out):
        workspace = Workspace(out, pipeline.STAGES)
        dataset = open_run(workspace, config, quiet)
        setup = pipeline.set_up(config, dataset, workspace, quiet)
        workspace.settle(setup.stages)
        pipeline.run_stages(workspace, pipeline.STAGES[:until], setup, 1)
    return dataset, workspace


def passes(config: RunConfig) -> int:
    """Passes of the UNet for an image; a guided step has two."""
    painting = config.inpaint
    assert isinstance(painting, LatentDiffusionConfig)
    guided = math.ceil(painting.guidance_end * painting.steps) if painting.guidance > 1 else 0
    return painting.steps + guided


if __name__ == "__main__":
    main()
