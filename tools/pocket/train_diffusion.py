"""Train the pocket's 9-channel inpainting UNet together with its text encoder; write both in diffusers layout.

    python tools/pocket/train_diffusion.py --pool build/pocket/pool --latents build/pocket/latents \
        --vae build/pocket/vae --out build/pocket/diffusion --minutes 120

v-prediction on a cosine schedule; the loss counts inside the mask (and more on the subject); 10% empty captions;
EMA weights are what is written. A checkpoint every few minutes; started again, it goes on from there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
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
from text import MAX_TOKENS, build_text_encoder, build_tokenizer
from torch import Tensor, nn
from transformers import CLIPTokenizer

EMPTY_CAPTIONS = 0.1
OUTSIDE_WEIGHT = 0.03
SUBJECT_WEIGHT = 2.0
EMA = 0.9985
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


def weighted_loss(output: Tensor, target: Tensor, mask: Tensor, subject: Tensor) -> Tensor:
    """Squared error of v, weighted to the mask and to the subject. NCHW; mask and subject N1HW in [0, 1]."""
    weight = OUTSIDE_WEIGHT + mask * (1 + (SUBJECT_WEIGHT - 1) * subject)
    error = ((output - target) ** 2).mean(dim=1, keepdim=True)
    return (weight * error).sum() / weight.sum()


class Batches:
    """Random training batches from the encoded pool."""

    def __init__(self, pool: Path, latents: Path, tokenizer: CLIPTokenizer, rng: np.random.Generator) -> None:
        rows = json.loads((pool / "rows.json").read_text())
        texts = [text for row in rows for text in row["captions"]]
        options = {"padding": "max_length", "max_length": MAX_TOKENS, "truncation": True, "return_tensors": "np"}
        self.ids = tokenizer(texts, **options).input_ids.reshape(len(rows), -1, MAX_TOKENS).astype(np.int64)
        self.empty = tokenizer([""], **options).input_ids[0].astype(np.int64)
        self.latents, self.masked, self.masks, self.subject = (
            np.load(latents / f"{name}.npy", mmap_mode="r") for name in ("latents", "masked", "masks", "subject")
        )
        self.rng = rng

    def draw(self, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(latents, masked latents, mask, subject, token ids)."""
        rng = self.rng
        rows = rng.integers(len(self.latents), size=size)
        which = rng.integers(self.masks.shape[1], size=size)
        ids = self.ids[rows, rng.integers(self.ids.shape[1], size=size)]
        ids[rng.random(size) < EMPTY_CAPTIONS] = self.empty
        arrays = (self.latents[rows], self.masked[rows, which], self.masks[rows, which][:, None])
        subject = torch.from_numpy(self.subject[rows][:, None]).float() / 255
        z, masked, mask = (torch.from_numpy(np.asarray(a)).float() for a in arrays)
        return z, masked, mask, subject, torch.from_numpy(ids)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    tokenizer = _tokenizer(args)
    text, unet = build_text_encoder(tokenizer), build_unet().to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # at 64 tokens and fewer, plain products beat fused attention on a CPU
    both = nn.ModuleDict({"text": text, "unet": unet})
    ema = torch.optim.swa_utils.AveragedModel(both, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA))
    optimiser = torch.optim.AdamW(both.parameters(), lr=args.lr, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    state = {"step": 0, "minutes": 0.0, "history": []}
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        both.load_state_dict(saved["model"]), ema.load_state_dict(saved["ema"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    batches = Batches(args.pool, args.latents, tokenizer, np.random.default_rng(args.seed + state["step"]))
    noise_schedule = DDPMScheduler(**SCHEDULE)
    start, before, last_save, running = time.time(), state["minutes"], time.time(), []
    while state["minutes"] < args.minutes:
        state["minutes"] = before + (time.time() - start) / 60
        _set_lr(optimiser, args, state)
        z, masked, mask, subject, ids = batches.draw(args.batch)
        t = torch.randint(0, 1000, (args.batch,))
        noise = torch.randn_like(z)
        inputs = torch.cat([noise_schedule.add_noise(z, noise, t), mask, masked], dim=1)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = text(ids).last_hidden_state
            output = unet(inputs.contiguous(memory_format=torch.channels_last), t, hidden).sample
        loss = weighted_loss(output.float(), noise_schedule.get_velocity(z, noise, t), mask, subject)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimiser.step()
        ema.update_parameters(both)
        state["step"] += 1
        running.append(float(loss.detach()))
        if state["step"] % 100 == 0:
            seen = state["step"] * args.batch
            record = {
                "step": state["step"],
                "samples": seen,
                "minutes": state["minutes"],
                "loss": float(np.mean(running)),
            }
            state["history"].append(record)
            print(json.dumps(record), flush=True)
            running = []
        if time.time() - last_save > 60 * args.save_minutes:
            _save(args, tokenizer, both, ema, optimiser, state, checkpoint)
            last_save = time.time()
    _save(args, tokenizer, both, ema, optimiser, state, checkpoint)


def _tokenizer(args: argparse.Namespace) -> CLIPTokenizer:
    if (args.out / "tokenizer").exists():
        return CLIPTokenizer.from_pretrained(args.out / "tokenizer")
    rows = json.loads((args.pool / "rows.json").read_text())
    return build_tokenizer((text for row in rows[:20_000] for text in row["captions"]), args.out / "tokenizer")


def _set_lr(optimiser: torch.optim.Optimizer, args: argparse.Namespace, state: dict) -> None:
    done = min(1.0, state["minutes"] / args.minutes)
    factor = min(1.0, (state["step"] + 1) / 200)
    decay = 1.0 if done < 0.5 else 0.03 + 0.97 * 0.5 * (1 + np.cos(np.pi * (done - 0.5) / 0.5))
    for group in optimiser.param_groups:
        group["lr"] = float(args.lr * factor * decay)


def _save(args, tokenizer, both, ema, optimiser, state, checkpoint: Path) -> None:  # type: ignore[no-untyped-def]
    """The pipeline folder (EMA weights) and, beside it, what is needed to go on."""
    pipeline = StableDiffusionInpaintPipeline(
        vae=AutoencoderKL.from_pretrained(args.vae),
        text_encoder=ema.module["text"],
        tokenizer=tokenizer,
        unet=ema.module["unet"],
        scheduler=DPMSolverMultistepScheduler(
            **SCHEDULE, timestep_spacing="trailing", lambda_min_clipped=-5.1, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(args.out)
    (args.out / "history.json").write_text(json.dumps(state["history"]))
    fresh = checkpoint.with_suffix(".new")
    torch.save(
        {"model": both.state_dict(), "ema": ema.state_dict(), "optimiser": optimiser.state_dict(), "state": state},
        fresh,
    )
    shutil.move(fresh, checkpoint)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())
