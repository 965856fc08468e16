"""Draw the README's picture from a finished pocket run: kept counterfactuals of both directions, one a column.

python tools/pocket/readme_figure.py --run runs/demo --out docs/figures/counterfactuals.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
from sheets import as_image, sheet

from ddb.data.images import read_image, read_png
from ddb.data.patches import rebuild
from ddb.engine.workspace import Workspace

PER_DIRECTION = 6
LABELS = ("training image", "region to repaint", "counterfactual", "what moved the ERM classifier")


def columns(run: Path) -> list[list[np.ndarray]]:
    """A column per counterfactual: source, region, counterfactual, attribution; those that have a map, in order."""
    workspace = Workspace.at(run)
    root = Path(json.loads((run / "dataset.json").read_text())["root"])
    kept = {row["id"] for row in workspace.table("prune").to_pylist() if row["keep"]}
    scored = workspace.table("score", ["id"])["id"].to_pylist()
    maps = {
        name: png for name, png in zip(scored, workspace.payload("score", "attribution", scored), strict=True) if png
    }
    candidates = [row for row in workspace.table("inpaint").to_pylist() if row["id"] in kept and row["id"] in maps]
    colours = matplotlib.colormaps["inferno"]
    found = []
    for direction in sorted({(row["from_label"], row["to_label"]) for row in candidates}):
        own = [row for row in candidates if (row["from_label"], row["to_label"]) == direction]
        for row in own[:PER_DIRECTION]:
            heat = colours(read_png(maps[row["id"]])[..., 0] / 255)[..., :3] * 255
            source = read_image(root, row["source_id"], 50)
            patch = next(iter(workspace.payload("inpaint", "patch", [row["id"]])))
            image, changed = rebuild(source, row["box"], patch)
            found.append([source, as_image(changed), image, heat.astype(np.uint8)])
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet(list(zip(*columns(args.run), strict=True)), LABELS, args.out)
