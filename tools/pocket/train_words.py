"""Go on with the words of the dual encoder: its text part and both projections, on features of images that stay fixed.

    python tools/pocket/train_words.py --pool build/pocket/pool --start-from build/pocket/encoder \
        --out build/pocket/encoder-words --views 6000 --steps 300

The image part is applied once to so many views; a step then costs a text pass alone, so that rare words (colours of
objects, words that are true of nothing) are seen often. Same loss as `train_encoder.py`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from curve import LossCurve
from descriptions import caption, vocabulary, word_caption
from shares import SHARES, counts_of
from torch import Tensor, nn
from train_encoder import HELD_OUT, DualEncoder, evaluate, shaken, tokens, truth, view, weights
from transformers import CLIPModel, CLIPTokenizer

IMAGES, CAPTIONS, WORDS = 192, 96, 96
PROCESSOR = ("processor_config.json", "tokenizer.json", "tokenizer_config.json")


@torch.no_grad()
def features(model: CLIPModel, pictures: list[np.ndarray], rng: np.random.Generator) -> Tensor:
    """The image part's pooled output of pictures, before the projection."""
    parts = [np.stack(pictures[start : start + 96]) for start in range(0, len(pictures), 96)]
    return torch.cat([model.vision_model(shaken(part, rng)).pooler_output for part in parts])


def train(args: argparse.Namespace) -> None:
    images, masks = (np.load(args.pool / f"{name}.npy", mmap_mode="r") for name in ("images", "masks"))
    rows = json.loads((args.pool / "rows.json").read_text())
    words, rng = vocabulary(rows), np.random.default_rng(args.seed)
    torch.manual_seed(args.seed)
    tokenizer = CLIPTokenizer.from_pretrained(args.start_from)
    model = DualEncoder(CLIPModel.from_pretrained(args.start_from, dtype=torch.float32))
    families = np.array([row["family"] for row in rows])
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(families[HELD_OUT:] == name) + HELD_OUT, number)
            for name, number in counts_of(args.views, SHARES).items()
        ]
    )
    pictures, shown = zip(*[view(images[i], masks[i], rows[i], rng) for i in chosen], strict=True)
    seen = features(model.clip.eval(), list(pictures), rng)
    print(f"{len(seen)} views", flush=True)
    own = [*model.clip.text_model.parameters(), *model.clip.text_projection.parameters()]
    own += [*model.clip.visual_projection.parameters(), model.clip.logit_scale, model.bias]
    optimiser = torch.optim.AdamW(own, args.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.lr, args.steps, pct_start=0.1)
    curve = LossCurve(every=25)
    for _ in range(args.steps):
        some = rng.choice(len(chosen), IMAGES, replace=False)
        origins = [rows[chosen[n]] for n in some[:CAPTIONS]]
        captions = [caption(row, rng) for row in origins]
        captions += [word_caption(word, rng) for word in rng.choice(words, WORDS, replace=False)]
        pictured = nn.functional.normalize(model.clip.visual_projection(seen[some]), dim=1)
        texts = model.clip.get_text_features(*tokens(tokenizer, [one.text for one in captions])).pooler_output
        logits = pictured @ nn.functional.normalize(texts, dim=1).T * model.clip.logit_scale.exp() + model.bias
        weight = weights([rows[chosen[n]] for n in some], captions, origins)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, truth([shown[n] for n in some], captions), weight)
        optimiser.zero_grad(set_to_none=True)
        (loss / weight.mean()).backward()
        optimiser.step()
        schedule.step()
        curve.add(float(loss.detach() / weight.mean()), IMAGES)
    args.out.mkdir(parents=True, exist_ok=True)
    model.clip.save_pretrained(args.out)
    for file in PROCESSOR:
        shutil.copyfile(args.start_from / file, args.out / file)
    figures = evaluate(model.clip.eval(), tokenizer, args.pool, words)
    print(json.dumps(figures), flush=True)
    (args.out / "history.json").write_text(json.dumps({"history": curve.history, "figures": figures}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--start-from", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())
