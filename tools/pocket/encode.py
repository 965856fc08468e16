"""Encode the pool once for the diffusion training: latents, masks at latent size and latents of the masked images.

python tools/pocket/encode.py --pool build/pocket/pool --vae build/pocket/vae --out build/pocket/latents
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from masks import training_mask
from torch import Tensor, nn

MASKS_PER_IMAGE = 2
BATCH = 128


@torch.no_grad()
def encode_pool(pool: Path, vae_folder: Path, out: Path, seed: int) -> None:
    """Write float16 `latents` N4hw, `masked` NM4hw (scaled), bool `masks` NMhw and `subject` Nhw (share 0-255)."""
    vae = AutoencoderKL.from_pretrained(vae_folder).eval().to(memory_format=torch.channels_last)
    images = np.load(pool / "images.npy", mmap_mode="r")
    subjects = np.load(pool / "masks.npy", mmap_mode="r")
    rng = np.random.default_rng(seed)
    scale = vae.config.scaling_factor
    out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[np.ndarray]] = {"latents": [], "masked": [], "masks": [], "subject": []}
    for start in range(0, len(images), BATCH):
        pixels = torch.from_numpy(np.array(images[start : start + BATCH])).permute(0, 3, 1, 2).float() / 127.5 - 1
        subject = np.array(subjects[start : start + BATCH])
        masks = np.stack([[training_mask(s, rng) for _ in range(MASKS_PER_IMAGE)] for s in subject])
        m = torch.from_numpy(masks)
        holes = (pixels[:, None] * ~m[:, :, None]).flatten(0, 1)
        parts["latents"].append(_encode(vae, pixels, scale))
        parts["masked"].append(_encode(vae, holes, scale).reshape(len(pixels), MASKS_PER_IMAGE, 4, 16, 16))
        parts["masks"].append(nn.functional.max_pool2d(m.float(), 4).bool().numpy())
        share = nn.functional.avg_pool2d(torch.from_numpy(subject).float()[:, None], 4)[:, 0]
        parts["subject"].append((share * 255).byte().numpy())
    for name, arrays in parts.items():
        np.save(out / f"{name}.npy", np.concatenate(arrays))


def _encode(vae: AutoencoderKL, pixels: Tensor, scale: float) -> np.ndarray:
    with torch.autocast("cpu", torch.bfloat16):
        mode = vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mode()
    return (mode.float() * scale).half().numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    encode_pool(args.pool, args.vae, args.out, args.seed)
