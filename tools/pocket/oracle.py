"""The oracles: a classifier a family of body plans (or nothing), trained on balanced renders, the judge of
counterfactuals.

    python tools/pocket/oracle.py --family animal --out build/pocket/oracles/animal

It sees both plans and empty places in equal shares on every place (hair: dark, blond and bald heads on both types of
face), everything else at random, and slight blur and noise, so that the softness of a decoder does not decide. It
serves checks and benchmarks only and never enters a run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ddb.pocket.world import FAMILIES, render, sample_scene

NOTHING = 2
"""The answer for a picture without a subject: it agrees with no intended class. 0 and 1 are the family's plans."""
ACCURACY = 0.97
"""A classifier that errs more often on unseen balanced renders is no judge."""
BATCH = 64


def build_oracle() -> nn.Module:
    return timm.create_model("resnet10t", num_classes=3, channels=[32, 64, 128, 256], stem_width=24)


def balanced_renders(family: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 NHWC images and answers (plan index or NOTHING); every (answer, place) cell has the same share."""
    rng = np.random.default_rng(seed)
    kind = FAMILIES[family]
    cells = [(answer, place) for answer in (0, 1, NOTHING) for place in kind.places]
    picks = [cells[i % len(cells)] for i in range(count)]
    images = [
        render(
            sample_scene(rng, family=family, plan=[*kind.plans, None][answer], place=place, empty=answer == NOTHING)
        ).image
        for answer, place in picks
    ]
    return np.stack(images), np.array([answer for answer, _ in picks])


def as_input(images: np.ndarray) -> Tensor:
    """uint8 NHWC -> float NCHW, centred."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def soften(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur every other image, so that every batch holds both kinds (batch norm), and add a little noise."""
    width = float(rng.uniform(0.3, 1.0))
    taps = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / width) ** 2)
    kernel = (taps[:, None] * taps[None, :] / taps.sum() ** 2).expand(3, 1, 5, 5)
    padded = nn.functional.pad(x[::2], (2, 2, 2, 2), mode="replicate")
    x = x.clone()
    x[::2] = nn.functional.conv2d(padded, kernel, groups=3)
    return x + 0.04 * float(rng.random()) * torch.randn(x.shape)


def train_oracle(family: str, out: Path, count: int = 8000, epochs: int = 8, seed: int = 0) -> float:
    """Train on `count` renders; returns the accuracy on 2,000 unseen ones and writes the weights. SystemExit, nothing
    written, if it is below `ACCURACY`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    start = time.time()
    images, labels = balanced_renders(family, count, seed + 100)
    model = build_oracle().to(memory_format=torch.channels_last)
    steps = epochs * (count // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(epochs):
        order = rng.permutation(count)[: count // BATCH * BATCH].reshape(-1, BATCH)
        for rows in order:
            x = soften(as_input(images[rows]), rng)
            x = torch.roll(x, tuple(int(v) for v in rng.integers(-3, 4, size=2)), dims=(2, 3))
            loss = nn.functional.cross_entropy(model(x), torch.from_numpy(labels[rows]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    unseen, truth = balanced_renders(family, 2000, seed + 999)
    accuracy = float((judge(model, unseen) == truth).mean())
    if accuracy < ACCURACY:
        raise SystemExit(f"{family}: oracle accuracy {accuracy:.4f} < {ACCURACY}: give it more --count or --epochs")
    out.mkdir(parents=True, exist_ok=True)
    facts = {"family": family, "test_accuracy": accuracy, "images": count, "epochs": epochs}
    (out / "oracle.json").write_text(json.dumps(facts | {"minutes": (time.time() - start) / 60}))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, out / "oracle.safetensors")
    return accuracy


def load_oracle(folder: Path) -> nn.Module:
    model = build_oracle()
    model.load_state_dict(load_file(folder / "oracle.safetensors"))
    return model.eval()


@torch.no_grad()
def judge(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Answers (0 first plan, 1 second plan, 2 nothing) for uint8 NHWC images."""
    model.eval()
    return np.concatenate([model(as_input(images[i : i + 250])).argmax(1).numpy() for i in range(0, len(images), 250)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=list(FAMILIES), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    accuracy = train_oracle(args.family, args.out, args.count, args.epochs, args.seed)
    print(f"{args.family}: oracle accuracy on unseen balanced renders: {accuracy:.4f}")
