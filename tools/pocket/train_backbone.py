"""Pretrain the pocket's slim ResNet on attributes of subjects of mixed parts: the stand-in for ImageNet.

    python tools/pocket/pool.py --out build/pocket/chimeras --count 40000 --seed 7 --chimeras-only
    python tools/pocket/train_backbone.py --pool build/pocket/chimeras --out build/pocket/backbone --steps 300 \
        --length-weight bird=0.3 animal=0.3 hair=0.3 --colour-weight hair=0.3

It learns colour, size, facing, place and the lengths of parts, never a plan: birds and animals have every part long or
short by its own coin, and of hair, where the colour is the class, golden is left out of the colours to be told apart.
How much it knows of what makes a class is set a family: `--length-weight` (birds, animals), `--colour-weight` (hair).
`config.json` beside the weights holds the timm architecture and the normalisation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from curve import LossCurve
from safetensors.torch import save_file
from shares import add_family_numbers, numbers_of
from torch import Tensor, nn

from ddb.pocket import animals, birds, hair
from ddb.pocket.world import FAMILIES

ARCHITECTURE = "resnet10t"
MODEL_ARGS = {"channels": [32, 64, 128, 256], "stem_width": 16, "stem_type": "deep"}
BATCH = 128
HELD_OUT = 2000
HISTORY_EVERY = 10
LENGTH_WEIGHTS = {"bird": 0.3, "animal": 0.3, "hair": 0.3}
COLOUR_WEIGHTS = {"bird": 1.0, "animal": 1.0, "hair": 1.0}
IGNORED = -100
"""A class index that no loss counts."""


@dataclass(frozen=True)
class Attributes:
    """What is asked of a family: names of each attribute's values, and numbers (lengths in u, angles, flags as 0/1)."""

    classes: dict[str, list]
    lengths: tuple[str, ...]

    @property
    def widths(self) -> list[int]:
        """Outputs of the family's head, attribute by attribute; the lengths last."""
        return [*(len(values) for values in self.classes.values()), len(self.lengths)]


ATTRIBUTES = {
    "bird": Attributes(
        {
            "colour": list(birds.COLOURS),
            "size": list(birds.SIZES),
            "place": list(FAMILIES["bird"].places),
            "facing_left": [False, True],
        },
        ("neck", "bill", "legs", "body", "tilt", "neck_angle", "tail_angle"),
    ),
    "animal": Attributes(
        {
            "colour": list(animals.COLOURS),
            "size": list(animals.SIZES),
            "place": list(FAMILIES["animal"].places),
            "facing_left": [False, True],
        },
        ("ears", "muzzle", "tail", "body", "tilt", "head_height", "tail_angle"),
    ),
    "hair": Attributes(
        {"colour": list(hair.PLANS["dark"]), "size": list(hair.SIZES), "place": list(FAMILIES["hair"].places)},
        ("volume", "fringe", "parting", "is_wavy"),
    ),
}


@dataclass(frozen=True)
class Targets:
    """Of one family: `rows` of the pool int64 [n], class indices int64 [n, attributes], standardised lengths
    float32 [n, lengths]. `at` int64 [N]: where a row of the pool stands here, -1 for another family's."""

    rows: np.ndarray
    classes: Tensor
    lengths: Tensor
    at: np.ndarray


class AttributeNet(nn.Module):
    """A backbone with a linear head for each family."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model(ARCHITECTURE, num_classes=0, **MODEL_ARGS)
        features = self.backbone.num_features
        self.heads = nn.ModuleDict({name: nn.Linear(features, sum(a.widths)) for name, a in ATTRIBUTES.items()})


def read_targets(pool: Path) -> dict[str, Targets]:
    """Family -> its targets."""
    rows = json.loads((pool / "rows.json").read_text())
    found = {}
    for family, asked in ATTRIBUTES.items():
        own = np.array([i for i, row in enumerate(rows) if row["family"] == family and row["subject"]], np.int64)
        classes = [[_index(rows[i], name, values) for name, values in asked.classes.items()] for i in own]
        lengths = torch.tensor([[float(rows[i]["subject"][name]) for name in asked.lengths] for i in own])
        at = np.full(len(rows), -1, np.int64)
        at[own] = np.arange(len(own))
        standard = (lengths - lengths.mean(0)) / lengths.std(0) if len(own) else lengths
        found[family] = Targets(own, torch.tensor(classes), standard, at)
    return found


def _index(row: dict, name: str, values: list) -> int:
    value = row["place"] if name == "place" else row["subject"][name]
    return values.index(value) if value in values else IGNORED


def family_loss(
    output: Tensor, family: str, classes: Tensor, lengths: Tensor, colour_weight: float, length_weight: float
) -> Tensor:
    """Mean of the cross-entropies (the colour's weighted) plus the weighted mean squared error of the lengths."""
    asked = ATTRIBUTES[family]
    *parts, numbers = output.split(asked.widths, dim=1)
    total = length_weight * nn.functional.mse_loss(numbers, lengths)
    for index, name in enumerate(asked.classes):
        if bool((classes[:, index] != IGNORED).any()):
            term = nn.functional.cross_entropy(parts[index], classes[:, index], ignore_index=IGNORED)
            total = total + (colour_weight if name == "colour" else 1.0) * term / len(asked.classes)
    return total


def batch_loss(
    model: AttributeNet,
    x: Tensor,
    rows: np.ndarray,
    targets: Mapping[str, Targets],
    colour_weights: Mapping[str, float],
    length_weights: Mapping[str, float],
) -> Tensor:
    """Each family's loss on its own pictures, weighted by their share of the batch."""
    features = model.backbone(x.contiguous(memory_format=torch.channels_last))
    total = features.new_zeros(())
    for family, own in targets.items():
        here = own.at[rows] >= 0
        if here.any():
            places = torch.from_numpy(own.at[rows][here])
            output = model.heads[family](features[torch.from_numpy(here)])
            loss = family_loss(
                output, family, own.classes[places], own.lengths[places], colour_weights[family], length_weights[family]
            )
            total = total + float(here.mean()) * loss
    return total


def train(args: argparse.Namespace) -> None:
    length_weights = numbers_of(args.length_weight, LENGTH_WEIGHTS)
    colour_weights = numbers_of(args.colour_weight, COLOUR_WEIGHTS)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    images = np.load(args.pool / "images.npy", mmap_mode="r")
    targets = read_targets(args.pool)
    sample = np.asarray(images[:4000], np.float32).reshape(-1, 3) / 255
    mean, std = sample.mean(0), sample.std(0)
    shift, scale = (torch.tensor(v)[None, :, None, None] for v in (mean, std))
    model = AttributeNet().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05, fused=True)
    held_out = min(HELD_OUT, len(images) // 4)
    curve = LossCurve(every=HISTORY_EVERY)
    for step in range(1, args.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = args.lr * min(1, step / 50) * (0.5 * (1 + np.cos(np.pi * step / args.steps)) + 0.01)
        rows = np.sort(rng.integers(held_out, len(images), size=BATCH))
        x = (torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255 - shift) / scale
        dy, dx = rng.integers(-4, 5, size=2)  # shift the batch: position carries no class
        x = torch.roll(x, (int(dy), int(dx)), dims=(2, 3))
        x = x + 0.1 * rng.random() * torch.randn_like(x)
        loss = batch_loss(model, x, rows, targets, colour_weights, length_weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        curve.add(float(loss.detach()), BATCH)
    x = (torch.from_numpy(np.array(images[:held_out])).permute(0, 3, 1, 2).float() / 255 - shift) / scale
    figures = evaluate(model, x, targets)
    print(json.dumps(figures))
    settings = {"steps": args.steps, "length_weight": length_weights, "colour_weight": colour_weights}
    write(model, args.out, mean, std, {"history": curve.history, "figures": figures, "settings": settings})


@torch.no_grad()
def evaluate(model: AttributeNet, x: Tensor, targets: Mapping[str, Targets]) -> dict[str, float]:
    """Held-out accuracy of the classes and R^2 of the lengths, family by family. `x`: the pool's first rows, NCHW."""
    model.eval()
    features = torch.cat([model.backbone(part) for part in x.split(250)])
    figures: dict[str, float] = {}
    for family, own in targets.items():
        count = int((own.rows < len(x)).sum())
        if count < 2:
            continue
        classes, lengths = own.classes[:count], own.lengths[:count]
        output = model.heads[family](features[torch.from_numpy(own.rows[:count])])
        *parts, numbers = output.split(ATTRIBUTES[family].widths, dim=1)
        for index, name in enumerate(ATTRIBUTES[family].classes):
            asked = classes[:, index] != IGNORED
            right = (parts[index].argmax(1) == classes[:, index])[asked]
            figures[f"{family}_{name}_accuracy"] = float(right.float().mean())
        r2 = 1 - ((numbers - lengths) ** 2).mean(0) / lengths.var(0)
        figures |= {f"{family}_{n}_r2": float(v) for n, v in zip(ATTRIBUTES[family].lengths, r2, strict=True)}
    return figures


def write(model: AttributeNet, out: Path, mean: np.ndarray, std: np.ndarray, history: dict) -> None:
    """The backbone alone in float16, its architecture and normalisation, and how it was trained."""
    out.mkdir(parents=True, exist_ok=True)
    config = {"architecture": ARCHITECTURE, "model_args": MODEL_ARGS, "mean": mean.tolist(), "std": std.tolist()}
    (out / "config.json").write_text(json.dumps(config, indent=1))
    (out / "history.json").write_text(json.dumps(history))
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.backbone.state_dict().items()}
    save_file(state, out / "model.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    add_family_numbers(parser, "--length-weight", LENGTH_WEIGHTS, "weight of the lengths of a family's parts")
    add_family_numbers(parser, "--colour-weight", COLOUR_WEIGHTS, "weight of a family's colours")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(arguments)
