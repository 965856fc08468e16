"""Train the pocket's text-prompted segmenter, a small CLIPSeg; write it with its processor in transformers layout.

    python tools/pocket/train_segmenter.py --pool build/pocket/pool --tokenizer build/pocket/diffusion/tokenizer \
        --out build/pocket/segmenter --minutes 30 --start-from src/ddb/pocket/weights/segmenter

A prompt names the subject (mask: its pixels), what is not there (mask: empty) or the place (mask: all but the subject);
three are asked of every picture.
What is not there is hard on purpose: the nouns and places of the other families, and words that no caption holds.
Killed and started again, it goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from shares import SHARES, add_family_numbers, counts_of, numbers_of
from text import MAX_TOKENS
from torch import Tensor, nn
from training import Training, autocast
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, CLIPTokenizer, ViTImageProcessor

from ddb.pocket import animals, birds, hair
from ddb.pocket.world import FAMILIES

BATCH = 16
EMPTY_IN_BATCH = 8
"""Pictures of empty places in every batch, besides those drawn by chance: the mask has to stay empty there."""
EMA = 0.99
COLOURS = {"bird": birds.COLOURS, "animal": animals.COLOURS, "hair": hair.COLOURS}
WORDS = {
    "bird": ("cat", "dog", "face", "person", "object", "man", "woman", "portrait"),
    "animal": ("face", "person", "object", "man", "woman", "portrait"),
    "hair": ("cat", "dog", "object"),
}
"""Words outside the captions that name nothing in a family's pictures. An animal may be a cat or a dog, and hair stands
around the face of a person: what is true there is not asked."""
MATCHING_WEIGHT = 0.2
"""Of CLIP's own loss: which noun is this a picture of?"""
SUBJECT_WEIGHT = 8.0
IGNORED = -100
"""The family of a picture without a subject, which the matching loss leaves out."""
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
        decoder_num_attention_heads=1,
        decoder_intermediate_size=192,
    )
    return CLIPSegForImageSegmentation(config)


def take_over(new: CLIPSegForImageSegmentation, folder: Path, tokenizer: CLIPTokenizer) -> bool:
    """Copy the weights of a segmenter's folder, in place: all of them if it reads the same tokens (True), else all but
    the text part (False). That one begins anew then: where it has learned that "bird" and "animal" are the same thing
    (wherever they did the same), it takes very long to tell them apart."""
    before = CLIPSegForImageSegmentation.from_pretrained(folder, dtype=torch.float32).state_dict()
    same = CLIPTokenizer.from_pretrained(folder).get_vocab() == tokenizer.get_vocab()
    own = new.state_dict()
    new.load_state_dict({name: before[name] if same or "text" not in name else own[name] for name in own})
    print(f"goes on from {folder}, {'with' if same else 'without'} its text part", flush=True)
    return same


def outputs_of(
    model: CLIPSegForImageSegmentation, ids: Tensor, pixels: Tensor, noun_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Forward pass with gradients everywhere (the library's own freezes the CLIP part): P prompts for each of N
    pictures, ids [N * P, T] picture by picture -> mask logits [N * P, H, W], and CLIP's own logits of the F families'
    nouns, [N, F]. The picture's part is computed once."""
    conditions = model.clip.get_text_features(torch.cat([ids, noun_ids])).pooler_output
    seen = model.clip.vision_model(pixels, output_hidden_states=True)
    prompts = len(ids) // len(pixels)
    layers = [seen.hidden_states[i + 1].repeat_interleave(prompts, 0) for i in model.extract_layers]
    pictures = nn.functional.normalize(model.clip.visual_projection(seen.pooler_output), dim=1)
    nouns = nn.functional.normalize(conditions[len(ids) :], dim=1)
    matches = pictures @ nouns.T * model.clip.logit_scale.exp()
    return model.decoder(layers, conditions[: len(ids)]).logits, matches


def prompts_for(row: dict, subject: np.ndarray, rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """What is asked of one picture, with the true masks: its noun, something that is not there, and one more. Side by
    side they cannot be answered without reading the prompt."""
    article = _article(rng)
    noun, missing = FAMILIES[row["family"]].noun, absent(row["family"], rng)
    return [
        (f"{article}{noun}", subject),
        (f"{article}{missing}", np.zeros_like(subject)),
        another_prompt(row, subject, rng),
    ]


def another_prompt(row: dict, subject: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """The noun with a colour, a place, or what is not there."""
    empty = np.zeros_like(subject)
    family = row["family"]
    noun = FAMILIES[family].noun
    draw = rng.random()
    article = _article(rng)
    if draw < 0.45:
        colours = list(COLOURS[family])
        colour = row["subject"]["colour"] if row["subject"] and rng.random() < 0.6 else str(rng.choice(colours))
        there = row["subject"] is not None and row["subject"]["colour"] == colour
        return f"{article}{colour} {noun}", subject if there else empty
    if draw < 0.6:
        place = row["place"] if rng.random() < 0.5 else str(rng.choice(FAMILIES[family].places))
        return f"{article}{place}", ~subject if place == row["place"] else empty
    return f"{article}{absent(family, rng)}", empty


def _article(rng: np.random.Generator) -> str:
    return "a " if rng.random() < 0.3 else ""


def absent(family: str, rng: np.random.Generator) -> str:
    """What no picture of a family shows: mostly another family's noun (the hardest to tell apart), bare or with one of
    its colours, or its place, or a word that no caption holds."""
    draw = rng.random()
    if draw < 0.15:
        return str(rng.choice(WORDS[family]))
    other = str(rng.choice([name for name in FAMILIES if name != family]))
    if draw < 0.7:
        return FAMILIES[other].noun
    if draw < 0.9:
        return f"{rng.choice(list(COLOURS[other]))} {FAMILIES[other].noun}"
    return str(rng.choice(FAMILIES[other].places))


class Picks:
    """Rows of a batch: families in fixed shares, and so many empty places."""

    def __init__(self, rows: list[dict], shares: dict[str, float]) -> None:
        families = np.array([row["family"] for row in rows])
        nothing = np.array([row["subject"] is None for row in rows])
        self.groups = [
            (np.flatnonzero((families == name) & (nothing if are_empty else True)), number)
            for are_empty, total in ((False, BATCH - EMPTY_IN_BATCH), (True, EMPTY_IN_BATCH))
            for name, number in counts_of(total, shares).items()
            if number
        ]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return np.concatenate([rng.choice(members, number) for members, number in self.groups])


def train(args: argparse.Namespace) -> None:
    images = np.load(args.pool / "images.npy", mmap_mode="r")
    subjects = np.load(args.pool / "masks.npy", mmap_mode="r")
    rows = json.loads((args.pool / "rows.json").read_text())
    picks = Picks(rows, numbers_of(args.shares, SHARES))
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    nouns = _tokens(tokenizer, [family.noun for family in FAMILIES.values()])
    names = list(FAMILIES)
    kinds = torch.tensor([names.index(row["family"]) if row["subject"] else IGNORED for row in rows])
    torch.manual_seed(args.seed)
    model = build_segmenter(tokenizer)
    reads = bool(args.start_from) and take_over(model, args.start_from, tokenizer)
    model.train()
    training = Training(model, args.out, args.minutes, args.lr, ema=EMA, seed=args.seed, save_minutes=args.save_minutes)
    while training.done < 1:
        chosen = picks.draw(training.rng)
        own = np.array(subjects[chosen])
        asked = [pair for i, mask in zip(chosen, own, strict=True) for pair in prompts_for(rows[i], mask, training.rng)]
        prompts, masks = zip(*asked, strict=True)
        target = torch.from_numpy(np.stack(masks)).float()
        subject = torch.from_numpy(own).float().repeat_interleave(len(asked) // len(chosen), 0)
        weight = 1 + (subject_weight(training.done, reads) - 1) * subject
        pixels = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).float() / 255
        with autocast():
            logits, matches = outputs_of(model, _tokens(tokenizer, prompts), (pixels - MEAN) / STD, nouns)
        matching = nn.functional.cross_entropy(matches.float(), kinds[chosen], ignore_index=IGNORED)
        training.step(segmentation_loss(logits.float(), target, weight) + MATCHING_WEIGHT * matching, BATCH)
        if training.save_due:
            save(training, tokenizer, args.out)
    save(training, tokenizer, args.out)


def subject_weight(done: float, reads: bool) -> float:
    """Weight of the subject's pixels, which are a tenth of a picture: while it is high the prompts' meaning is learned,
    which is whether these pixels belong to the mask at all; then, at 1, its outline. `reads`: the training began with a
    text part that knows the meaning."""
    return SUBJECT_WEIGHT if done < 0.5 and not reads else 1.0


def _tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    return tokenizer(list(prompts), padding="max_length", max_length=8, return_tensors="pt").input_ids


def segmentation_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy of the pixels plus a soft Dice loss over the masks that are not empty; all [N, H, W]."""
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, target, weight) / weight.mean()
    p, there = logits.sigmoid(), target.flatten(1).any(1)
    overlap = 2 * (p * target).sum((1, 2)) + 1
    dice = 1 - overlap / (p.sum((1, 2)) + target.sum((1, 2)) + 1)
    return cross_entropy + 0.5 * (dice * there).sum() / there.sum().clamp(min=1)


def save(training: Training, tokenizer: CLIPTokenizer, out: Path) -> None:
    """The checkpoint, and the averaged weights with their processor."""
    training.save()
    training.average.save_pretrained(out)
    processor = ViTImageProcessor(size={"height": 64, "width": 64}, image_mean=[MEAN] * 3, image_std=[STD] * 3)
    CLIPSegProcessor(image_processor=processor, tokenizer=tokenizer).save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--save-minutes", type=float, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--start-from", type=Path, help="a segmenter folder to go on from")
    add_family_numbers(parser, "--shares", SHARES, "share of each family in a batch")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(arguments)
