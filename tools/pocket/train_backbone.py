"""Pretrain the pocket's slim ResNet on attributes of birds whose parts are mixed at random: the stand-in for ImageNet.

    python tools/pocket/pool.py --out build/pocket/chimeras --count 40000 --seed 7 --chimeras-only
    python tools/pocket/train_backbone.py --pool build/pocket/chimeras --out build/pocket/backbone --steps 400

It learns colour, size, facing, place and the lengths of parts, never a body plan: in its training images every part is
long or short by its own coin. `config.json` beside the weights holds the timm architecture and the normalisation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import timm
import torch
from curve import LossCurve
from safetensors.torch import save_file
from torch import Tensor, nn

from ddb.pocket.birds import COLOURS, SIZES
from ddb.pocket.places import PLACES

ARCHITECTURE = "resnet10t"
MODEL_ARGS = {"channels": [32, 64, 128, 256], "stem_width": 24}
CLASSES = {"colour": list(COLOURS), "size": list(SIZES), "place": list(PLACES)}
LENGTHS = ("neck", "bill", "legs", "body", "tilt", "neck_angle", "tail_angle")
BATCH = 128


class AttributeNet(nn.Module):
    """A backbone with one linear head for all attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model(ARCHITECTURE, num_classes=0, **MODEL_ARGS)
        outputs = sum(len(names) for names in CLASSES.values()) + 2 + len(LENGTHS)
        self.head = nn.Linear(self.backbone.num_features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def read_targets(pool: Path) -> tuple[Tensor, Tensor]:
    """Class indices (N, 4: colour, size, place, facing) and standardised lengths (N, len(LENGTHS))."""
    rows = json.loads((pool / "rows.json").read_text())
    classes = [
        [
            CLASSES["colour"].index(r["subject"]["colour"]),
            CLASSES["size"].index(r["subject"]["size"]),
            CLASSES["place"].index(r["place"]),
            int(r["subject"]["facing_left"]),
        ]
        for r in rows
    ]
    lengths = torch.tensor([[r["subject"][name] for name in LENGTHS] for r in rows])
    return torch.tensor(classes), (lengths - lengths.mean(0)) / lengths.std(0)


def attribute_loss(output: Tensor, classes: Tensor, lengths: Tensor, length_weight: float) -> Tensor:
    """Mean of the cross-entropies plus `length_weight` times the mean squared error of the lengths."""
    widths = [len(names) for names in CLASSES.values()] + [2, len(LENGTHS)]
    parts = output.split(widths, dim=1)
    terms = [nn.functional.cross_entropy(parts[i], classes[:, i]) for i in range(4)]
    return torch.stack(terms).mean() + length_weight * nn.functional.mse_loss(parts[4], lengths)


def train(pool: Path, out: Path, steps: int, length_weight: float, lr: float, seed: int) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images = np.load(pool / "images.npy", mmap_mode="r")
    classes, lengths = read_targets(pool)
    sample = np.asarray(images[:4000], np.float32).reshape(-1, 3) / 255
    mean, std = sample.mean(0), sample.std(0)
    shift, scale = (torch.tensor(v)[None, :, None, None] for v in (mean, std))
    model = AttributeNet().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05, fused=True)
    held_out = 2000
    curve = LossCurve(BATCH)
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1, step / 50) * (0.5 * (1 + np.cos(np.pi * step / steps)) + 0.01)
        rows = np.sort(rng.integers(held_out, len(images), size=BATCH))
        x = (torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255 - shift) / scale
        dy, dx = rng.integers(-4, 5, size=2)  # shift the batch: position carries no class
        x = torch.roll(x, (int(dy), int(dx)), dims=(2, 3))
        x = x + 0.1 * rng.random() * torch.randn_like(x)
        loss = attribute_loss(
            model(x.contiguous(memory_format=torch.channels_last)), classes[rows], lengths[rows], length_weight
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        curve.add(step, float(loss.detach()))
    figures = evaluate(model, images[:held_out], classes[:held_out], lengths[:held_out], shift, scale)
    print(json.dumps(figures))
    out.mkdir(parents=True, exist_ok=True)
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.backbone.state_dict().items()}
    save_file(state, out / "model.safetensors")
    config = {"architecture": ARCHITECTURE, "model_args": MODEL_ARGS, "mean": mean.tolist(), "std": std.tolist()}
    (out / "config.json").write_text(json.dumps(config, indent=1))
    (out / "history.json").write_text(json.dumps({"history": curve.history, "figures": figures}))


@torch.no_grad()
def evaluate(
    model: AttributeNet, images: np.ndarray, classes: Tensor, lengths: Tensor, shift: Tensor, scale: Tensor
) -> dict[str, float]:
    """Held-out accuracy of the classes and R^2 of the lengths."""
    model.eval()
    x = (torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255 - shift) / scale
    output = torch.cat([model(part) for part in x.split(250)])
    parts = output.split([len(names) for names in CLASSES.values()] + [2, len(LENGTHS)], dim=1)
    names = [*CLASSES, "facing"]
    figures = {
        f"{n}_accuracy": float((parts[i].argmax(1) == classes[:, i]).float().mean()) for i, n in enumerate(names)
    }
    r2 = 1 - ((parts[4] - lengths) ** 2).mean(0) / lengths.var(0)
    return figures | {f"{n}_r2": float(v) for n, v in zip(LENGTHS, r2, strict=True)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--length-weight", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train(args.pool, args.out, args.steps, args.length_weight, args.lr, args.seed)
