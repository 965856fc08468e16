"""Train the pocket's text-prompted segmenter, a small CLIPSeg; write it with its processor in transformers layout.

    python tools/pocket/train_segmenter.py --pool build/pocket/pool --tokenizer build/pocket/diffusion/tokenizer \
        --out build/pocket/segmenter --minutes 12

A prompt names what is there (mask: its pixels), what is not there (mask: empty) or the place (mask: all but the bird).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from curve import LossCurve
from text import MAX_TOKENS
from torch import Tensor, nn
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, CLIPTokenizer, ViTImageProcessor

from ddb.pocket.birds import COLOURS

BATCH = 24
EMPTY_IN_BATCH = 5
"""Pictures without a bird in every batch, besides those drawn by chance: the mask has to stay empty there."""
ABSENT = ("cat", "dog", "face", "hair", "person", "object")
MEAN, STD = 0.5, 0.5


def build_segmenter(tokenizer: CLIPTokenizer) -> CLIPSegForImageSegmentation:
    """64x64 images in 4x4 patches; width 96, five layers; a decoder of width 48 over three of them."""
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = CLIPSegConfig(
        text_config=dict(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=64,
            **ids,
        ),
        vision_config={
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 5,
            "num_attention_heads": 3,
            "image_size": 64,
            "patch_size": 4,
        },
        projection_dim=64,
        extract_layers=[1, 3, 4],
        reduce_dim=48,
        decoder_num_attention_heads=3,
        decoder_intermediate_size=192,
    )
    return CLIPSegForImageSegmentation(config)


def mask_logits(model: CLIPSegForImageSegmentation, ids: Tensor, pixels: Tensor) -> Tensor:
    """Forward pass with gradients everywhere (the library's own freezes the CLIP part). NHW logits."""
    condition = model.clip.get_text_features(ids).pooler_output
    hidden = model.clip.vision_model(pixels, output_hidden_states=True).hidden_states
    return model.decoder([hidden[i + 1] for i in model.extract_layers], condition).logits


def prompt_for(row: dict, subject: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A prompt and its true mask for one picture."""
    empty = np.zeros_like(subject)
    draw = rng.random()
    article = "a " if rng.random() < 0.3 else ""
    if draw < 0.62:
        return f"{article}bird", subject
    if draw < 0.77:
        colour = row["subject"]["colour"] if row["subject"] and rng.random() < 0.6 else str(rng.choice(list(COLOURS)))
        there = row["subject"] is not None and row["subject"]["colour"] == colour
        return f"{article}{colour} bird", subject if there else empty
    if draw < 0.9:
        place = str(rng.choice(["forest", "lake"]))
        return f"{article}{place}", ~subject if place == row["place"] else empty
    return f"{article}{rng.choice(ABSENT)}", empty


def train(
    pool: Path, tokenizer_folder: Path, out: Path, minutes: float, lr: float, seed: int, start_from: Path | None
) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images = np.load(pool / "images.npy", mmap_mode="r")
    subjects = np.load(pool / "masks.npy", mmap_mode="r")
    rows = json.loads((pool / "rows.json").read_text())
    without_bird = np.array([i for i, row in enumerate(rows) if row["subject"] is None])
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    model = CLIPSegForImageSegmentation.from_pretrained(start_from) if start_from else build_segmenter(tokenizer)
    model.train()
    ema = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01, fused=True)
    start, step, curve = time.time(), 0, LossCurve(BATCH)
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 200) * (0.5 * (1 + np.cos(np.pi * done)) + 0.01)
        picks = rng.integers(len(images), size=BATCH)
        picks[:EMPTY_IN_BATCH] = rng.choice(without_bird, EMPTY_IN_BATCH)
        prompts, masks = zip(*(prompt_for(rows[i], np.array(subjects[i]), rng) for i in picks), strict=True)
        ids = tokenizer(list(prompts), padding="max_length", max_length=8, return_tensors="pt").input_ids
        target = torch.from_numpy(np.stack(masks)).float()
        pixels = torch.from_numpy(images[picks]).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            logits = mask_logits(model, ids, (pixels - MEAN) / STD).float()
        loss = segmentation_loss(logits, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.update_parameters(model)
        step += 1
        curve.add(step, float(loss.detach()))
        if step % 500 == 0:
            save(ema.module, tokenizer, out, curve.history)
    save(ema.module, tokenizer, out, curve.history)


def segmentation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus a soft Dice loss over the pictures whose mask is not empty."""
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, target)
    p, there = logits.sigmoid(), target.flatten(1).any(1)
    overlap = 2 * (p * target).sum((1, 2)) + 1
    dice = 1 - overlap / (p.sum((1, 2)) + target.sum((1, 2)) + 1)
    return cross_entropy + 0.5 * (dice * there).sum() / there.sum().clamp(min=1)


def save(model: CLIPSegForImageSegmentation, tokenizer: CLIPTokenizer, out: Path, history: list[dict]) -> None:
    model.save_pretrained(out)
    processor = ViTImageProcessor(size={"height": 64, "width": 64}, image_mean=[MEAN] * 3, image_std=[STD] * 3)
    CLIPSegProcessor(image_processor=processor, tokenizer=tokenizer).save_pretrained(out)
    (out / "history.json").write_text(json.dumps(history))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", type=Path, help="a segmenter folder to go on from")
    args = parser.parse_args()
    train(args.pool, args.tokenizer, args.out, args.minutes, args.lr, args.seed, args.start_from)
