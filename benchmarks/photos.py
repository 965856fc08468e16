"""ddb and its rivals on real photographs: objects of two classes cut out and pasted on two kinds of scenes.

    pip install '.[bench]'
    python benchmarks/photos.py --photos DIR --scenes DIR --classes english_springer,tench --scenes-of forest,sea \
        --out runs/photos-springer-tench --seeds 5

`--photos` holds `train/<class>/` and `val/<class>/` (Imagenette's layout), `--scenes` `train/<kind>/` and
`test/<kind>/`. Every seed draws its own data set (480 training images, 95% of them in the class's usual scene) and
compares methods on it with the budget and selection of `ddb bench`, from an EfficientNet-Lite0 trained on ImageNet.
Masks are given, counterfactuals are copy-paste. The table holds worst-group accuracy: every method, and ddb's arms of
pruning (none, one head, both). Writes a contact sheet of each data set. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from photo_sets.backbone import ARCHITECTURE, imagenet_backbone
from photo_sets.biased import Wanted, write_set
from PIL import Image

from ddb.bench.options import Asked, options
from ddb.bench.run import run_bench
from ddb.bench.show.intervals import over_seeds
from ddb.bench.show.results import Results
from ddb.config import RunConfig
from ddb.config.load import load_config

METHODS = "ddb,erm,jtt,afr,dfr_val,cvar_dro,lff,mixup,dpe,dpe_ddb"
TILE, TILES = 112, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--classes", required=True, metavar="A,B")
    parser.add_argument("--scenes-of", required=True, metavar="C,D")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--image-size", type=int, default=160)
    asked = parser.parse_args()
    classes, scenes = (pair(parser, text) for text in (asked.classes, asked.scenes_of))
    backbone = imagenet_backbone(asked.out / "backbone", asked.photos)
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(asked.seeds):
        folder = asked.out / f"seed-{seed}"
        wanted = Wanted(asked.photos, asked.scenes, classes, scenes, seed)
        table = write_set(wanted, folder / "data", asked.out / "cutouts")
        contact_sheet(folder / "data", wanted, asked.out / f"sheet-{seed}.png")
        config = settings(table, backbone, seed, asked.image_size)
        chosen = options(Asked(asked.methods, 1, "worst_group", "off", "1,2", "local", None))
        for name, value in figures(run_bench(config, chosen, folder / "bench")).items():
            found[name].append(value)
        print(json.dumps({"seed": seed, **{name: values[-1] for name, values in found.items()}}), flush=True)
    print("\n| method | worst-group accuracy |\n|---|---|")
    for name, values in found.items():
        figure = over_seeds(values)
        half = "" if figure.half is None else f" ± {figure.half:.3f}"
        print(f"| {name} | {figure.value:.3f}{half} |")


def pair(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != 2:
        parser.error(f"{text}: two names, separated by a comma")
    return names[0], names[1]


def settings(table: Path, backbone: Path, seed: int, image_size: int) -> RunConfig:
    """The preset `photos` with given masks, pasted objects and the ImageNet backbone."""
    more = {
        "seed": seed,
        "data.source": "table",
        "data.root": table,
        "data.phrase": "object",
        "erm.backbone": ARCHITECTURE,
        "erm.weights": backbone,
        "erm.image_size": image_size,
        "erm.batch_size": 32,
        "segment.backend": "given",
        "segment.masks": table.parent / "masks",
        "inpaint.backend": "copy_paste",
        "invert.representatives": 0,
    }
    return load_config("photos", [f"{key}={value}" for key, value in more.items()])


def figures(results: Results) -> dict[str, float]:
    """Worst-group accuracy of every method, and of every arm of the study of pruning."""
    own = {method.title: method.worst.value for method in results.methods}
    arms = {f"ddb, pruning by {arm.name}": arm.worst.value for arm in results.studies.get("pruning", [])}
    return {**own, **arms}


def contact_sheet(data: Path, wanted: Wanted, out: Path) -> None:
    """A row of training images for each group."""
    page = np.full((4 * TILE, TILES * TILE, 3), 255, np.uint8)
    groups = [f"{name}-{scene}" for name in wanted.classes for scene in wanted.scenes_of]
    for row, group in enumerate(groups):
        for column, path in enumerate(sorted((data / "images" / "train").glob(f"{group}-*.jpg"))[:TILES]):
            tile = np.asarray(Image.open(path).resize((TILE, TILE)))
            page[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = tile
    Image.fromarray(page).save(out)


if __name__ == "__main__":
    main()
