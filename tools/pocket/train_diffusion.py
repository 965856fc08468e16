"""Train the pocket's 9-channel inpainting UNet together with its text encoder; write both in diffusers layout.

    python tools/pocket/train_diffusion.py --pool build/pocket/pool --latents build/pocket/latents \
        --vae build/pocket/vae --out build/pocket/diffusion --minutes 120 --start-from src/ddb/pocket/weights/diffusion

v-prediction on a cosine schedule; the loss counts inside the mask, alike on the subject and beside it; 10% empty
captions; EMA weights are what is written. Every batch holds the families in fixed shares. A checkpoint every few
minutes; started again, it goes on from there. `--start-from`: a diffusers folder whose UNet and text encoder are gone
on from; words that its tokenizer knew keep their embeddings.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor
from shares import SHARES, add_family_numbers, counts_of, numbers_of
from text import MAX_TOKENS, build_text_encoder, build_tokenizer, take_over_text
from torch import Tensor, nn
from training import Training, autocast
from transformers import CLIPTextModel, CLIPTokenizer

EMPTY_CAPTIONS = 0.1
OUTSIDE_WEIGHT = 0.03
EMA = 0.995
"""The average reaches back 200 steps: a longer one lags behind what a training of a few thousand steps learns."""
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
}


def build_unet() -> UNet2DConditionModel:
    """Three resolutions (16, 8, 4); attention to the text at 8x8 and 4x4; heads of 32 channels."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=9,
        out_channels=4,
        block_out_channels=(64, 128, 192),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=(2, 4, 6),
        norm_num_groups=16,
    )


def weighted_loss(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error of v, weighted to the mask. NCHW; mask N1HW in [0, 1]. No weight looks at the picture itself: one
    that is larger where the subject is makes subjects likely wherever one might be, and they are painted too large."""
    weight = OUTSIDE_WEIGHT + mask
    error = ((output - target) ** 2).mean(dim=1, keepdim=True)
    return (weight * error).sum() / weight.sum()


class Batches:
    """Random training batches of `size` from the encoded pool, the families in fixed shares."""

    def __init__(
        self, rows: list[dict], latents: Path, tokenizer: CLIPTokenizer, size: int, shares: Mapping[str, float]
    ) -> None:
        texts = [text for row in rows for text in row["captions"]]
        options = {"padding": "max_length", "max_length": MAX_TOKENS, "truncation": True, "return_tensors": "np"}
        self.ids = tokenizer(texts, **options).input_ids.reshape(len(rows), -1, MAX_TOKENS).astype(np.int16)
        self.empty = tokenizer([""], **options).input_ids[0].astype(np.int16)
        self.latents, self.masked, self.masks = (
            np.load(latents / f"{name}.npy", mmap_mode="r") for name in ("latents", "masked", "masks")
        )
        if len(self.latents) != len(rows):
            raise SystemExit(f"{latents} holds {len(self.latents)} pictures, the pool {len(rows)}: encode it again")
        families = np.array([row["family"] for row in rows])
        self.members = [(np.flatnonzero(families == name), n) for name, n in counts_of(size, shares).items() if n]

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(latents, masked latents, mask, token ids)."""
        rows = np.concatenate([rng.choice(members, number) for members, number in self.members])
        which = rng.integers(self.masks.shape[1], size=len(rows))
        ids = self.ids[rows, rng.integers(self.ids.shape[1], size=len(rows))]
        ids[rng.random(len(rows)) < EMPTY_CAPTIONS] = self.empty
        arrays = (self.latents[rows], self.masked[rows, which], self.masks[rows, which][:, None])
        z, masked, mask = (torch.from_numpy(np.asarray(a)).float() for a in arrays)
        return z, masked, mask, torch.from_numpy(ids.astype(np.int64))


def decay(done: float) -> float:
    """Full learning rate for half of the time, then a cosine."""
    return 1.0 if done < 0.5 else 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (done - 0.5) / 0.5))


def train(args: argparse.Namespace) -> None:
    rows = json.loads((args.pool / "rows.json").read_text())
    tokenizer = _tokenizer(args.out / "tokenizer", rows)
    torch.manual_seed(args.seed)
    text, unet = _models(tokenizer, args.start_from)
    both = nn.ModuleDict({"text": text, "unet": unet})
    training = Training(
        both, args.out, args.minutes, args.lr, ema=EMA, seed=args.seed, decay=decay, save_minutes=args.save_minutes
    )
    batches = Batches(rows, args.latents, tokenizer, args.batch, numbers_of(args.shares, SHARES))
    noise_schedule = DDPMScheduler(**SCHEDULE)
    while training.done < 1:
        z, masked, mask, ids = batches.draw(training.rng)
        t = torch.randint(0, 1000, (args.batch,))
        noise = torch.randn_like(z)
        inputs = torch.cat([noise_schedule.add_noise(z, noise, t), mask, masked], dim=1)
        with autocast():
            hidden = text(ids).last_hidden_state
            output = unet(inputs.contiguous(memory_format=torch.channels_last), t, hidden).sample
        training.step(weighted_loss(output.float(), noise_schedule.get_velocity(z, noise, t), mask), args.batch)
        if training.save_due:
            _save(args, tokenizer, training)
    _save(args, tokenizer, training)


def _tokenizer(folder: Path, rows: list[dict]) -> CLIPTokenizer:
    if folder.exists():
        return CLIPTokenizer.from_pretrained(folder)
    return build_tokenizer((text for row in rows[:20_000] for text in row["captions"]), folder)


def _models(tokenizer: CLIPTokenizer, start_from: Path | None) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    """New models, or those of a diffusers folder with the vocabulary of `tokenizer`."""
    text, unet = build_text_encoder(tokenizer), build_unet()
    if start_from:
        known = CLIPTextModel.from_pretrained(start_from / "text_encoder", dtype=torch.float32)
        taken = take_over_text(text, known, tokenizer, CLIPTokenizer.from_pretrained(start_from / "tokenizer"))
        print(f"goes on from {start_from}: {taken} of {len(tokenizer)} tokens known")
        unet = UNet2DConditionModel.from_pretrained(start_from / "unet", torch_dtype=torch.float32)
    unet.to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # at 64 tokens and fewer, plain products beat fused attention on a CPU
    return text.train(), unet.train()


def _save(args: argparse.Namespace, tokenizer: CLIPTokenizer, training: Training) -> None:
    """The checkpoint, and the pipeline folder with the averaged weights."""
    training.save()
    pipeline = StableDiffusionInpaintPipeline(
        vae=AutoencoderKL.from_pretrained(args.vae),
        text_encoder=training.average["text"],
        tokenizer=tokenizer,
        unet=training.average["unet"],
        scheduler=DPMSolverMultistepScheduler(
            **SCHEDULE, timestep_spacing="trailing", lambda_min_clipped=-5.1, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--start-from", type=Path, help="a diffusers folder to go on from")
    add_family_numbers(parser, "--shares", SHARES, "share of each family in a batch")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(arguments)
