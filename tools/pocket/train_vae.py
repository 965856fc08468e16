"""Train the pocket VAE (64x64x3 -> 16x16x4) on crops, then on whole images; write it in diffusers layout.

    python tools/pocket/train_vae.py --pool build/pocket/pool --out build/pocket/vae --minutes 28
    python tools/pocket/train_vae.py --pool build/pocket/pool --out build/pocket/vae --minutes 20 --lr 8e-4 \
        --start-from src/ddb/pocket/weights/diffusion/vae

Loss: L1 + L1 of the image gradients (edges and legs must survive: a blurry patch is a trace that a classifier can
learn) with the subject's pixels weighted up, + a tiny KL term. What is written is a short average of the weights, and
in history.json its figures on pictures of each family that it was not trained on. Killed and started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from training import Training, autocast

CROP = 32
SUBJECT_WEIGHT = 3.0
EDGE_WEIGHT = 1.0
KL_WEIGHT = 1e-6
EMA = 0.99
HELD_OUT = 600
"""Pictures at the end of the pool (a quarter of a small one) that are only looked at for the figures."""


def build_vae() -> AutoencoderKL:
    """Three resolutions (64, 32, 16), four latent channels."""
    return AutoencoderKL(
        block_out_channels=(24, 48, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


def reconstruct(model: AutoencoderKL) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """NCHW in [-1, 1] -> its reconstruction from a sampled latent, and the KL divergence per sample (nats)."""

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = model.quant_conv(model.encoder(x)).float().chunk(2, dim=1)
        log_var = log_var.clamp(-30, 20)
        latent = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(dim=(1, 2, 3)).mean()
        return model.decoder(model.post_quant_conv(latent)), kl

    return forward


def reconstruction_loss(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Weighted L1 of pixels and of their horizontal and vertical differences. NCHW in [-1, 1]; mask N1HW in {0, 1}."""
    weight = 1 + (SUBJECT_WEIGHT - 1) * nn.functional.max_pool2d(mask, 3, 1, 1)
    loss = (weight * (output - target).abs()).mean()
    for dim in (2, 3):
        edges = (output.diff(dim=dim) - target.diff(dim=dim)).abs()
        loss = loss + EDGE_WEIGHT * (weight.narrow(dim, 1, weight.shape[dim] - 1) * edges).mean()
    return loss


def crops(
    images: np.ndarray, masks: np.ndarray, rng: np.random.Generator, batch: int, size: int
) -> tuple[Tensor, Tensor]:
    """Random crops of `size` px whose corners lie on the latent grid (multiples of 4)."""
    rows = rng.integers(len(images), size=batch)
    corner = 4 * rng.integers(0, (64 - size) // 4 + 1, size=(batch, 2))
    x = np.stack([images[r, y : y + size, x : x + size] for r, (y, x) in zip(rows, corner, strict=True)])
    m = np.stack([masks[r, y : y + size, x : x + size] for r, (y, x) in zip(rows, corner, strict=True)])
    flip = rng.random(batch) < 0.5
    x[flip], m[flip] = x[flip, :, ::-1], m[flip, :, ::-1]
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels.contiguous(memory_format=torch.channels_last), torch.from_numpy(m).float()[:, None]


def train(args: argparse.Namespace) -> None:
    images, masks = (np.load(args.pool / f"{name}.npy", mmap_mode="r") for name in ("images", "masks"))
    families = [row["family"] for row in json.loads((args.pool / "rows.json").read_text())]
    held_out = min(HELD_OUT, len(images) // 4)
    torch.manual_seed(args.seed)
    model = AutoencoderKL.from_pretrained(args.start_from, dtype=torch.float32) if args.start_from else build_vae()
    model.train().to(memory_format=torch.channels_last)
    training = Training(
        model, args.out, args.minutes, args.lr, ema=EMA, seed=args.seed, weight_decay=1e-4,
        save_minutes=args.save_minutes,
    )  # fmt: skip
    forward = torch.compile(reconstruct(model))
    while training.done < 1:
        size, batch = (CROP, 24) if training.done < 0.85 else (64, 8)
        x, m = crops(images[:-held_out], masks[:-held_out], training.rng, batch, size)
        with autocast():
            output, kl = forward(x)
        training.step(reconstruction_loss(output.float(), x, m) + KL_WEIGHT * kl, batch)
        if training.save_due:
            training.save()
            save(training.average, images, args.out)
    training.save()
    save(training.average, images, args.out)
    figures = evaluate(training.average, images[-held_out:], masks[-held_out:], families[-held_out:])
    print(json.dumps(figures))
    content = {"history": training.curve.history, "figures": figures}
    (args.out / "history.json").write_text(json.dumps(content))


def save(model: AutoencoderKL, images: np.ndarray, out: Path) -> None:
    """Set the scaling factor to one over the latents' standard deviation and write the model."""
    model.eval()
    with torch.no_grad():
        latents = model.encode(as_input(images[:512])).latent_dist.mode()
    model.register_to_config(scaling_factor=float(1 / latents.std()))
    model.save_pretrained(out)


@torch.no_grad()
def evaluate(model: AutoencoderKL, images: np.ndarray, masks: np.ndarray, families: list[str]) -> dict[str, float]:
    """For each family: mean absolute error in grey levels (0-255), in the whole picture and on the subject, and
    sharpness, the strength of the edges on the subject over that of the original's (1: as sharp)."""
    model.eval()
    figures: dict[str, float] = {}
    for family in sorted(set(families)):
        rows = np.flatnonzero([name == family for name in families])
        x, mask = as_input(images[rows]), torch.from_numpy(np.array(masks[rows]))[:, None].float()
        output = torch.cat([model.decode(model.encode(part).latent_dist.mode()).sample for part in x.split(50)])
        error = (output.clamp(-1, 1) - x).abs().mean(dim=1, keepdim=True) * 127.5
        near = nn.functional.max_pool2d(mask, 3, 1, 1)
        figures[f"{family}_error"] = float(error.mean())
        figures[f"{family}_error_subject"] = float((error * near).sum() / near.sum())
        edges = [
            (y.diff(dim=3).abs() * near[..., 1:]).sum() + (y.diff(dim=2).abs() * near[:, :, 1:]).sum()
            for y in (output, x)
        ]
        figures[f"{family}_sharpness"] = float(edges[0] / edges[1])
    return figures


def as_input(images: np.ndarray) -> Tensor:
    """uint8 NHWC -> NCHW in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=28)
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--start-from", type=Path, help="a VAE folder to go on from")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(arguments)
