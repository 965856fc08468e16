"""Encode the pool once for the diffusion training: latents, masks at latent size and latents of the masked images.

    python tools/pocket/encode.py --pool build/pocket/pool --vae build/pocket/vae --out build/pocket/latents

latents.npy float16 N4hw, masked.npy float16 NM4hw (both scaled), masks.npy bool NMhw. Killed, it goes on where it was;
done, or for another pool or VAE, it knows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from masks import training_mask
from torch import Tensor, nn
from training import autocast

MASKS_PER_IMAGE = 2
BATCH = 128
SYNC_EVERY = 20
"""Batches between two notes of how far it is."""


def encode_pool(pool: Path, vae_folder: Path, out: Path, seed: int) -> None:
    """Fill the four arrays under `out`, batch by batch."""
    vae = AutoencoderKL.from_pretrained(vae_folder).eval().to(memory_format=torch.channels_last)
    images = np.load(pool / "images.npy", mmap_mode="r")
    subjects = np.load(pool / "masks.npy", mmap_mode="r")
    families = [row["family"] for row in json.loads((pool / "rows.json").read_text())]
    made_from = {"pool": _digest(pool / "rows.json"), "vae": _weights_digest(vae_folder), "seed": seed}
    progress = out / "progress.json"
    begun = json.loads(progress.read_text()) if progress.exists() else {}
    first = begun["rows"] if begun.get("made_from") == made_from else 0
    arrays = _arrays(out, len(images), fresh=first == 0)
    for start in range(first, len(images), BATCH):
        here = slice(start, start + BATCH)
        rng = np.random.default_rng([seed, start])
        _encode_batch(vae, np.array(images[here]), np.array(subjects[here]), families[here], rng, arrays, here)
        end = min(start + BATCH, len(images))
        if end == len(images) or (start // BATCH) % SYNC_EVERY == SYNC_EVERY - 1:
            for array in arrays.values():
                array.flush()
            note = progress.with_suffix(".new")
            note.write_text(json.dumps({"made_from": made_from, "rows": end}))
            os.replace(note, progress)
            print(f"{end} of {len(images)} pictures encoded", flush=True)


def _arrays(out: Path, count: int, fresh: bool) -> dict[str, np.ndarray]:
    out.mkdir(parents=True, exist_ok=True)
    shapes = {
        "latents": (np.float16, (count, 4, 16, 16)),
        "masked": (np.float16, (count, MASKS_PER_IMAGE, 4, 16, 16)),
        "masks": (np.bool_, (count, MASKS_PER_IMAGE, 16, 16)),
    }
    if not fresh:
        return {name: np.load(out / f"{name}.npy", mmap_mode="r+") for name in shapes}
    (out / "progress.json").unlink(missing_ok=True)
    return {
        name: np.lib.format.open_memmap(out / f"{name}.npy", "w+", kind, shape)
        for name, (kind, shape) in shapes.items()
    }


@torch.no_grad()
def _encode_batch(
    vae: AutoencoderKL,
    images: np.ndarray,
    subject: np.ndarray,
    families: list[str],
    rng: np.random.Generator,
    arrays: dict[str, np.ndarray],
    here: slice,
) -> None:
    """Fill the rows `here` of the arrays."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    masks = np.stack(
        [
            [training_mask(s, family, rng) for _ in range(MASKS_PER_IMAGE)]
            for s, family in zip(subject, families, strict=True)
        ]
    )
    m = torch.from_numpy(masks)
    holes = (pixels[:, None] * ~m[:, :, None]).flatten(0, 1)
    arrays["latents"][here] = _encode(vae, pixels)
    arrays["masked"][here] = _encode(vae, holes).reshape(len(pixels), MASKS_PER_IMAGE, 4, 16, 16)
    arrays["masks"][here] = nn.functional.max_pool2d(m.float(), 4).bool().numpy()


def _encode(vae: AutoencoderKL, pixels: Tensor) -> np.ndarray:
    with autocast():
        mode = vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mode()
    return (mode.float() * vae.config.scaling_factor).half().numpy()


def _weights_digest(folder: Path) -> str:
    return _digest(*(folder / name for name in ("config.json", "diffusion_pytorch_model.safetensors")))


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    encode_pool(args.pool, args.vae, args.out, args.seed)
