"""What DaC's masks hold, and how DaC does with the true ones: is it the masks that fail, or what follows?

    python benchmarks/dac_masks.py pocket-waterbirds --out runs/dac-waterbirds

Built-in worlds only: they know where the object is. DaC's settings are searched on validation images as in `ddb bench`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddb.bench.choice import best
from ddb.bench.options import Options
from ddb.bench.scores import score
from ddb.bench.trial import Trial, open_trial
from ddb.config_load import load_config
from ddb.data.table import Dataset
from ddb.engine.progress import open_progress
from ddb.rivals import RIVALS, fit_rival
from ddb.rivals.dac_masks import adaptive_masks
from ddb.rivals.last_layer import weights_hash

DAC = RIVALS["dac"]
Masks = npt.NDArray[np.bool_]


def true_masks(dataset: Dataset) -> Masks:
    """The objects of the training images: bool [N, S, S]."""
    names = dataset.split("train")["image"].to_pylist()
    return np.stack([np.asarray(Image.open(dataset.root / "masks" / name)) > 127 for name in names])


def own_masks(trial: Trial) -> Masks:
    """Those that DaC makes from the ERM model's activation maps."""
    problem, classifier = trial.problem, trial.erm().classifier
    pixels, labels = problem.train.pixels, problem.train.labels
    parts = [slice(start, start + problem.batch) for start in range(0, len(labels), problem.batch)]
    runtime = trial.runtime.exact()
    return np.concatenate([adaptive_masks(classifier, pixels[p], labels[p], runtime, problem.batch) for p in parts])


def test_figures(trial: Trial, masks: Masks, home: Path) -> tuple[dict[str, object], dict[str, float]]:
    """The setting that validation chooses and its test accuracy by group, DaC taking these masks for its own."""
    name = f"masks-{weights_hash(trial.erm().classifier)}-{len(masks)}.npy"
    home.mkdir(parents=True, exist_ok=True)
    np.save(home / name, np.packbits(masks, axis=2))  # where DaC keeps them from one setting to the next
    fits = [fit_rival(DAC, replace(trial.problem, folder=home), values) for values in DAC.grid]
    place = best([{"figures": list(fit.figures)} for fit in fits])
    groups = score(trial, fits[place].classifier)["groups"]
    return dict(DAC.grid[place]), {group["name"]: group["accuracy"] for group in groups}


def main(args: argparse.Namespace) -> None:
    options = Options(("dac",), True, 1, "worst_group", "first", ("1",))
    config = load_config(args.preset, [f"seed={args.seed}", f"data.pocket.seed={args.seed}"])
    trial = open_trial(config, options, 0, args.out, "erm", open_progress(sys.stderr))
    truth = true_masks(trial.dataset)
    print(f"{config.name}, seed {args.seed}; the object covers {truth.mean():.1%} of an image")
    print(
        "| Masks | Keep of the image | Keep of the object | Object's share of them | Setting | Worst group | Groups |"
    )
    print("|---|---:|---:|---:|---|---:|---|")
    for name, masks in (("DaC's own", own_masks(trial)), ("true", truth)):
        both = (masks & truth).sum((1, 2))
        shares = masks.mean(), (both / truth.sum((1, 2))).mean(), (both / masks.sum((1, 2))).mean()
        setting, groups = test_figures(trial, masks, args.out / "work" / name.replace(" ", "-"))
        shown = ", ".join(f"{key} {value}" for key, value in setting.items()) or "first"
        rest = ", ".join(f"{group} {value:.1%}" for group, value in groups.items())
        print(f"| {name} | {' | '.join(f'{s:.0%}' for s in shares)} | {shown} | {min(groups.values()):.1%} | {rest} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=["pocket-waterbirds", "pocket-metashift", "pocket-celeba"])
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or one to go on in")
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
