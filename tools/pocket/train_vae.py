"""Train the pocket VAE (64x64x3 -> 16x16x4) on crops, then on whole images; write it in diffusers layout.

    python tools/pocket/train_vae.py --pool build/pocket/pool --out build/pocket/vae --minutes 20

Loss: L1 + L1 of the image gradients (edges and legs must survive: a blurry patch is a trace that a classifier can
learn) with the subject's pixels weighted up, + a tiny KL term.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

CROP = 32
SUBJECT_WEIGHT = 3.0
EDGE_WEIGHT = 1.0
KL_WEIGHT = 1e-6


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


def train(pool: Path, out: Path, minutes: float, lr: float, seed: int, start_from: Path | None) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images = np.load(pool / "images.npy", mmap_mode="r")
    masks = np.load(pool / "masks.npy", mmap_mode="r")
    model = AutoencoderKL.from_pretrained(start_from) if start_from else build_vae()
    model.train().to(memory_format=torch.channels_last)
    forward = torch.compile(reconstruct(model))
    ema = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-4, betas=(0.9, 0.99))
    out.mkdir(parents=True, exist_ok=True)
    start, step, seen, history, running = time.time(), 0, 0, [], 0.0
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        size, batch = (CROP, 24) if done < 0.85 else (64, 8)
        x, m = crops(images, masks, rng, batch, size)
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 200) * (0.5 * (1 + np.cos(np.pi * done)) + 0.01)
        with torch.autocast("cpu", torch.bfloat16):
            output, kl = forward(x)
        loss = reconstruction_loss(output.float(), x, m) + KL_WEIGHT * kl
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.update_parameters(model)
        step, seen, running = step + 1, seen + batch, running + float(loss.detach())
        if step % 200 == 0:
            history.append({"step": step, "crops": seen, "minutes": (time.time() - start) / 60, "loss": running / 200})
            print(json.dumps(history[-1]), flush=True)
            running = 0.0
        if step % 1000 == 0:
            save(ema.module, images, out, history)
    save(ema.module, images, out, history)


def save(model: AutoencoderKL, images: np.ndarray, out: Path, history: list[dict[str, float]]) -> None:
    """Set the scaling factor to one over the latents' standard deviation and write the model."""
    model.eval()
    x = torch.from_numpy(np.array(images[:512])).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = model.encode(x).latent_dist.mode()
    model.register_to_config(scaling_factor=float(1 / latents.std()))
    model.save_pretrained(out)
    (out / "history.json").write_text(json.dumps(history))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", type=Path, help="a VAE folder to go on from")
    args = parser.parse_args()
    train(args.pool, args.out, args.minutes, args.lr, args.seed, args.start_from)
