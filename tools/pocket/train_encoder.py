"""Train the pocket's dual encoder of images and texts, a small CLIP; write it in transformers' layout.

    python tools/pocket/train_encoder.py --pool build/pocket/pool --tokenizer build/pocket/diffusion/tokenizer \
        --out build/pocket/encoder --minutes 25

A picture is shown whole, without its object (a filled box, or a filled silhouette that was widened) or as the object
alone. All pairs of a batch's pictures and captions are asked, true or not, with the sigmoid loss of SigLIP (Zhai et al.
2023, eq. 1): many captions are true of many pictures, which a softmax over the batch takes for mistakes.
Killed and started again, it goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from descriptions import PLACE_FACTS, UNASKED, Caption, caption, object_facts, vocabulary, word_caption
from PIL import Image
from shares import SHARES, add_family_numbers, counts_of, numbers_of
from text import MAX_TOKENS
from torch import Tensor, nn
from training import Training, autocast
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer, ViTImageProcessor

from ddb.discovery.views import box_hole, box_of, inside, widened, without_object
from ddb.pocket import animals, birds, hair
from ddb.pocket.world import FAMILIES

BATCH = 48
WORDS = 48
"""Words of the whole vocabulary that are asked of each batch, besides its captions."""
OWN_FAMILY = 8.0
"""Weight of a picture with the captions of its own family: families are told apart long before places and colours."""
HELD_OUT = 1200
MEAN, STD = 0.5, 0.5
EMA = 0.99
COLOURS = {"bird": birds.COLOURS, "animal": animals.COLOURS, "hair": hair.COLOURS}


class DualEncoder(nn.Module):
    """CLIP and the bias of the sigmoid loss, which only the training needs."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        self.bias = nn.Parameter(torch.tensor(-4.0))

    def forward(self, pixels: Tensor, ids: Tensor, attention: Tensor) -> Tensor:
        """Logits of all pairs, [images, captions]."""
        images = nn.functional.normalize(self.clip.get_image_features(pixels).pooler_output, dim=1)
        texts = nn.functional.normalize(self.clip.get_text_features(ids, attention).pooler_output, dim=1)
        return images @ texts.T * self.clip.logit_scale.exp() + self.bias


def build_encoder(tokenizer: CLIPTokenizer) -> CLIPModel:
    """64x64 images in 8x8 patches, four layers of width 96; texts: two layers of width 96; embeddings of 96."""
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": MAX_TOKENS,
        "hidden_act": "gelu",
    }
    vision = {
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "image_size": 64,
        "patch_size": 8,
        "hidden_act": "gelu",
    }
    config = CLIPConfig(
        text_config={**text, **ids}, vision_config=vision, projection_dim=96, logit_scale_init_value=float(np.log(10))
    )
    return CLIPModel(config)


def view(image: np.ndarray, mask: np.ndarray, row: dict, rng: np.random.Generator) -> tuple[np.ndarray, set[str]]:
    """A picture as it is shown, and what is true of it."""
    place, thing = set(PLACE_FACTS[row["place"]]), set(object_facts(row))
    draw = rng.random()
    if not thing:
        return (without_object(image, _random_box(rng)) if draw < 0.5 else image), place
    if draw < 0.15:
        return image, place | thing
    if draw < 0.55:
        return resized(inside(image, mask)), thing
    if row["family"] == "hair" or draw < 0.65:  # the box of long hair holds the whole face
        return without_object(image, widened(mask)), place
    least = (float(rng.uniform(0, 0.7)), float(rng.uniform(0, 0.7)))
    return without_object(image, box_hole(box_of(widened(mask)), least, mask.shape)), place


def resized(image: np.ndarray) -> np.ndarray:
    """At 64x64 pixels, as the processor does it."""
    return np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC))


def _hole(mask: np.ndarray, row: dict) -> np.ndarray:
    """As `ddb discover` makes it with the presets' settings."""
    wide = widened(mask)
    return wide if row["family"] == "hair" else box_hole(box_of(wide), (0, 0), mask.shape)


def _random_box(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    height, width = rng.integers(16, 40, size=2)
    top, left = rng.integers(0, 64 - height), rng.integers(0, 64 - width)
    mask[top : top + height, left : left + width] = True
    return mask


def shaken(images: np.ndarray, rng: np.random.Generator) -> Tensor:
    """uint8 NHWC as normalised NCHW: half of them mirrored, shifted by up to 4 pixels, a little brighter or darker."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mirrored = torch.from_numpy(rng.random(len(x)) < 0.5)
    x[mirrored] = x[mirrored].flip(3)
    dy, dx = rng.integers(0, 9, size=2)
    x = nn.functional.pad(x, (4, 4, 4, 4), mode="replicate")[:, :, dy : dy + 64, dx : dx + 64]
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (len(x), 1, 1, 1)).astype(np.float32))
    return ((x * gain).clamp(0, 1) - MEAN) / STD


def truth(shown: Sequence[set[str]], captions: Sequence[Caption]) -> Tensor:
    """[pictures, captions], 1 where all facts of the caption are true of the picture."""
    return torch.tensor([[float(facts.issuperset(one.facts)) for one in captions] for facts in shown])


def weights(shown: Sequence[dict], captions: Sequence[Caption], origins: Sequence[dict]) -> Tensor:
    """[pictures, captions]: `OWN_FAMILY` where the caption is a word of the vocabulary, or was made of a picture of the
    same family, which is hard to tell, else 1; 0 where the caption cannot be judged (`UNASKED`). `origins`: rows of the
    first captions."""
    families = [row["family"] for row in origins] + [""] * (len(captions) - len(origins))
    return torch.tensor(
        [
            [
                0.0
                if set(one.facts) & set(UNASKED[row["place"]])
                else OWN_FAMILY
                if family in (row["family"], "")
                else 1.0
                for one, family in zip(captions, families, strict=True)
            ]
            for row in shown
        ]
    )


def train(args: argparse.Namespace) -> None:
    images = np.load(args.pool / "images.npy", mmap_mode="r")
    masks = np.load(args.pool / "masks.npy", mmap_mode="r")
    rows = json.loads((args.pool / "rows.json").read_text())
    families = np.array([row["family"] for row in rows])
    shares = counts_of(BATCH, numbers_of(args.shares, SHARES))
    members = {name: np.flatnonzero(families[HELD_OUT:] == name) + HELD_OUT for name in shares}
    words = vocabulary(rows)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    torch.manual_seed(args.seed)
    model = DualEncoder(build_encoder(tokenizer))
    if args.start_from:
        model.clip.load_state_dict(CLIPModel.from_pretrained(args.start_from, dtype=torch.float32).state_dict())
    model.train()
    training = Training(model, args.out, args.minutes, args.lr, ema=EMA, seed=args.seed, save_minutes=args.save_minutes)
    print(f"{len(words)} words, {sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    while training.done < 1:
        rng = training.rng
        chosen = np.concatenate([rng.choice(members[name], number) for name, number in shares.items()])
        pictures, shown = zip(*[view(images[i], masks[i], rows[i], rng) for i in chosen], strict=True)
        captions = [caption(rows[i], rng) for i in chosen]
        captions += [word_caption(word, rng) for word in rng.choice(words, WORDS, replace=False)]
        with autocast():
            logits = model(shaken(np.stack(pictures), rng), *tokens(tokenizer, [one.text for one in captions]))
        own = [rows[i] for i in chosen]
        weight = weights(own, captions, own)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), truth(shown, captions), weight)
        training.step(loss / weight.mean(), BATCH)
        if training.save_due:
            save(training, tokenizer, args.out)
            print(json.dumps(evaluate(training.average.clip, tokenizer, args.pool, words)), flush=True)
    figures = evaluate(training.average.clip, tokenizer, args.pool, words)
    print(json.dumps(figures), flush=True)
    save(training, tokenizer, args.out)
    (args.out / "history.json").write_text(json.dumps({"history": training.curve.history, "figures": figures}))


def tokens(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    found = tokenizer(list(texts), padding=True, return_tensors="pt")
    return found.input_ids, found.attention_mask


@torch.no_grad()
def evaluate(model: CLIPModel, tokenizer: CLIPTokenizer, pool: Path, words: Sequence[str]) -> dict[str, float]:
    """Zero-shot accuracy on held-out pictures, by the cosine with "a photo of WORD": the place among the family's own,
    for whole pictures and without the object; whether the best word of the whole vocabulary is true of the place; the
    object's colour among the family's own, without the place."""
    images = np.load(pool / "images.npy", mmap_mode="r")[:HELD_OUT]
    masks = np.load(pool / "masks.npy", mmap_mode="r")[:HELD_OUT]
    rows = json.loads((pool / "rows.json").read_text())[:HELD_OUT]
    texts = model.get_text_features(*tokens(tokenizer, [f"a photo of {word}" for word in words])).pooler_output
    texts = nn.functional.normalize(texts, dim=1)
    column = {word: index for index, word in enumerate(words)}
    holes = [
        image if not mask.any() else without_object(image, _hole(mask, row))
        for image, mask, row in zip(images, masks, rows, strict=True)
    ]
    alone = [resized(inside(i, m)) if m.any() else i for i, m in zip(images, masks, strict=True)]
    figures: dict[str, float] = {}
    for name, shown in (("whole", list(images)), ("without_object", holes), ("object", alone)):
        x = (torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
        seen = torch.cat([model.get_image_features(part).pooler_output for part in x.split(200)])
        cosines = nn.functional.normalize(seen, dim=1) @ texts.T
        for family in SHARES:
            own = [i for i, row in enumerate(rows) if row["family"] == family and row["subject"]]
            names = COLOURS[family] if name == "object" else [p for p in PLACE_FACTS if p in FAMILIES[family].places]
            best = cosines[own][:, [column[word] for word in names]].argmax(1).tolist()
            answer = [rows[i]["subject"]["colour"] if name == "object" else rows[i]["place"] for i in own]
            figures[f"{family}_{name}"] = float(
                np.mean([list(names)[b] == a for b, a in zip(best, answer, strict=True)])
            )
            if name == "without_object":
                first = cosines[own].argmax(1).tolist()
                right = [words[f] in PLACE_FACTS[rows[i]["place"]] for f, i in zip(first, own, strict=True)]
                figures[f"{family}_any_word"] = float(np.mean(right))
    return {name: round(value, 4) for name, value in figures.items()}


def save(training: Training, tokenizer: CLIPTokenizer, out: Path) -> None:
    """The checkpoint, and the averaged weights with their processor."""
    training.save()
    training.average.clip.save_pretrained(out)
    processor = ViTImageProcessor(size={"height": 64, "width": 64}, image_mean=[MEAN] * 3, image_std=[STD] * 3)
    CLIPProcessor(image_processor=processor, tokenizer=tokenizer).save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--start-from", type=Path, help="an encoder folder to go on from")
    add_family_numbers(parser, "--shares", SHARES, "share of each family in a batch")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(arguments)
