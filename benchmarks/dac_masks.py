"""What DaC's masks hold, and how DaC does with the true ones: is it the masks that fail, or what follows?

    python benchmarks/dac_masks.py pocket-waterbirds --out runs/dac-waterbirds

Built-in worlds only: they know where the object is. DaC's settings are searched on validation images as in `ddb bench`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddb.bench.fits.choice import best
from ddb.bench.fits.trial import Trial, open_trial
from ddb.bench.options import Options
from ddb.bench.scores import score
from ddb.config.load import load_config
from ddb.data.images import read_mask
from ddb.data.table import Dataset
from ddb.engine.progress import open_progress
from ddb.rivals import RIVALS, fit_rival
from ddb.rivals.last_layer import weights_hash

DAC = RIVALS["dac"]
Masks = npt.NDArray[np.bool_]
Settings = Mapping[str, Any]
Accuracies = dict[str, float]


def true_masks(dataset: Dataset) -> Masks:
    """The objects of the training images: bool [N, S, S]."""
    names = dataset.split("train")["image"].to_pylist()
    return np.stack([read_mask((dataset.root / "masks" / name).read_bytes()) for name in names])


def searched(trial: Trial, home: Path, masks: Masks | None) -> tuple[Masks, Settings, Accuracies]:
    """DaC with these masks (None: with its own): the masks, the setting that validation chooses, its test accuracy by
    group."""
    kept = home / f"masks-{weights_hash(trial.erm().classifier)}-{trial.problem.train.labels.size}.npy"
    if masks is not None:  # DaC looks there first, and leaves its own there
        home.mkdir(parents=True, exist_ok=True)
        np.save(kept, np.packbits(masks, axis=2))
    fits = [fit_rival(DAC, replace(trial.problem, folder=home), values) for values in DAC.grid]
    place = best([{"figures": list(fit.figures)} for fit in fits])
    groups = score(trial, fits[place].classifier)["groups"]
    used = np.unpackbits(np.load(kept), axis=2, count=trial.config.erm.image_size).astype(bool)
    return used, DAC.grid[place], {group["name"]: group["accuracy"] for group in groups}


def main(args: argparse.Namespace) -> None:
    options = Options(("dac",), True, 1, "worst_group", "first", ("1",))
    config = load_config(args.preset, [f"seed={args.seed}", f"data.pocket.seed={args.seed}"])
    trial = open_trial(config, options, 0, args.out, "erm", open_progress(sys.stderr))
    truth = true_masks(trial.dataset)
    print(f"{config.name}, seed {args.seed}; the object covers {truth.mean():.1%} of an image")
    titles = ("Masks", "Keep of the image", "Keep of the object", "Object's share of them", "Setting", "Worst group")
    print(f"| {' | '.join(titles)} | Groups |")
    print("|---|---:|---:|---:|---|---:|---|")
    for name, given in (("DaC's own", None), ("true", truth)):
        masks, setting, groups = searched(trial, args.out / "work" / name.replace(" ", "-"), given)
        both = (masks & truth).sum((1, 2))
        shares = masks.mean(), (both / truth.sum((1, 2))).mean(), (both / masks.sum((1, 2))).mean()
        shown = ", ".join(f"{key} {value}" for key, value in setting.items()) or "first"
        rest = ", ".join(f"{group} {value:.1%}" for group, value in groups.items())
        print(f"| {name} | {' | '.join(f'{s:.0%}' for s in shares)} | {shown} | {min(groups.values()):.1%} | {rest} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=["pocket-waterbirds", "pocket-metashift", "pocket-celeba"])
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or one to go on in")
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
