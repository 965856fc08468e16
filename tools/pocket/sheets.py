"""Draw the loss curves and sample sheets of the pocket weights into `figures/`.

    python tools/pocket/sheets.py --out tools/pocket/figures [--families bird]
    python tools/pocket/sheets.py --diffusion build/pocket/diffusion --segmenter build/pocket/segmenter --out sheets

curves.png           loss of each training, from figures/<part>.json, where they are
world.png            pictures of the world above their causal masks, two rows a family
vae.png              unseen pictures above what the autoencoder makes of them
prompts-FAMILY.png   one source a column, one prompt a row, painted by the inpainting model into the same region
segmenter.png        unseen pictures above the mask found for the family's noun; the last ones show an empty place
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw

from ddb.backends import Found, Painted, Task
from ddb.backends.generators.diffusion.generator import as_levels, decode, encode
from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.registry import diffusion_weights, open_generator, open_segmenter
from ddb.config import LatentDiffusionConfig, SegmentConfig
from ddb.config.load import load_config
from ddb.context import Context, Models
from ddb.data.masks import shaped
from ddb.data.table import Dataset
from ddb.learn.device import open_accelerator
from ddb.learn.seeds import seed_of
from ddb.pocket.world import FAMILIES, Picture, render, sample_scene

matplotlib.use("Agg")
from matplotlib import pyplot  # (the backend is chosen first: there is no screen)

CONTEXT = Context(cast(Dataset, None), 0, "cpu", "fp32", Path())
COLUMNS = 12
ZOOM = 2
LABEL = 190
EMPTY = 3
"""Columns of the segmenter's sheet without a subject."""
PROMPTS = {
    "bird": (
        "a photo of a bird with a short neck, a conical bill, short legs and a round body",
        "a photo of a bird with a long neck, a flat bill, long legs and a boat-shaped body",
        "a photo of a red bird",
        "a photo of a white long-necked bird",
        "a photo of a blue short-legged bird on a lake",
        "",
    ),
    "animal": (
        "a photo of an animal with pointed ears, a flat face, a long tail and a slender body",
        "a photo of an animal with hanging ears, a long muzzle, a short tail and a stocky body",
        "a photo of a black animal",
        "a photo of a ginger flop-eared animal",
        "a photo of a snowy prick-eared animal beside a sofa",
        "",
    ),
    "hair": (
        "a photo of golden hair",
        "a photo of black hair",
        "a photo of brown wavy hair",
        "a photo of golden hair with a fringe",
        "a photo of auburn long hair around a round face",
        "",
    ),
}
REGIONS = {
    "bird": {"shape": "square", "expand": 1.1, "min_side": 0.66},
    "animal": {"shape": "square", "expand": 1.1, "min_side": 0.66},
    "hair": {"shape": "dilated", "expand": 1.15},
}
"""Family -> settings of the region that is repainted."""
CURVES = ("vae", "diffusion", "segmenter", "backbone")


def curves(folder: Path) -> None:
    """The recorded losses, one axis a training."""
    figure, axes = pyplot.subplots(1, len(CURVES), figsize=(14, 3), layout="constrained")
    for axis, name in zip(axes, CURVES, strict=True):
        content = json.loads((folder / f"{name}.json").read_text())
        history = content["history"] if isinstance(content, dict) else content
        axis.plot([row["images"] / 1000 for row in history], [row["loss"] for row in history], marker=".", markersize=3)
        axis.set(title=name, xlabel="images seen, thousands", ylabel="training loss")
        axis.grid(alpha=0.3)
    figure.savefig(folder / "curves.png", dpi=80)


def sheet(rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], path: Path) -> None:
    """Rows of uint8 HWC images, enlarged, a label before each row."""
    side = rows[0][0].shape[0] * ZOOM
    page = Image.new("RGB", (LABEL + side * len(rows[0]), side * len(rows)), "white")
    draw = ImageDraw.Draw(page)
    for y, (row, label) in enumerate(zip(rows, labels, strict=True)):
        draw.multiline_text((6, y * side + 8), _wrapped(label), fill="black", spacing=3)
        for x, image in enumerate(row):
            tile = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
            page.paste(tile, (LABEL + x * side, y * side))
    page.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _wrapped(text: str, width: int = 28) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def pictures(family: str, count: int, seed: int, empty: int = 0) -> list[Picture]:
    """Unseen pictures of a family, both plans and chimeras in turn, its places in turn; the last `empty` ones show no
    subject."""
    rng = np.random.default_rng(seed)
    kind = FAMILIES[family]
    plans = (*kind.plans, None)
    return [
        render(
            sample_scene(
                rng,
                family=family,
                plan=plans[i % 3],
                place=kind.places[i % len(kind.places)],
                empty=i >= count - empty,
            )
        )
        for i in range(count)
    ]


def as_image(mask: np.ndarray) -> np.ndarray:
    """A mask as black and white RGB."""
    return np.repeat((mask * np.uint8(255))[..., None].astype(np.uint8), 3, axis=2)


def reconstructions(images: Sequence[np.ndarray], settings: LatentDiffusionConfig) -> list[np.ndarray]:
    """Through the encoder and back."""
    model = open_diffusion(diffusion_weights(settings), open_accelerator("cpu", "fp32"))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return list(as_levels(decode(model, encode(model, pixels))).numpy())


def painted(prompt: str, sources: Sequence[Picture], segment: SegmentConfig, settings: LatentDiffusionConfig) -> list:
    """Each source with its region repainted from the prompt; a column shares its noise."""
    tasks = [Task(s.image, shaped(s.mask, segment), 0, prompt, seed_of(0, "sheet", i)) for i, s in enumerate(sources)]
    generator = open_generator(settings, CONTEXT, Models(), {})
    return [found.image for found in generator.paint(tasks, COLUMNS) if isinstance(found, Painted)]


def masks_found(family: str, sources: Sequence[Picture], segment: SegmentConfig) -> list[np.ndarray]:
    """What the segmenter finds for the family's noun, as images."""
    segmenter, names = open_segmenter(segment, CONTEXT, Models()), [str(i) for i in range(len(sources))]
    found = segmenter.segment(names, [s.image for s in sources], FAMILIES[family].noun, COLUMNS)
    return [as_image(one.mask) for one in found if isinstance(one, Found)]


def main(out: Path, diffusion: str, segmenter: str, families: Sequence[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    config = load_config("pocket-waterbirds")
    inpaint = config.inpaint.model_copy(update={"weights": diffusion})
    if all((out / f"{name}.json").exists() for name in CURVES):
        curves(out)
    shown = {family: pictures(family, COLUMNS, 11) for family in families}
    images = {family: [s.image for s in sources] for family, sources in shown.items()}
    world, vae, found = [], [], []
    for family, sources in shown.items():
        world += [(f"{family}: picture", images[family]), ("causal mask", [as_image(s.mask) for s in sources])]
        vae += [
            (f"{family}: picture", images[family]),
            ("after the autoencoder", reconstructions(images[family], inpaint)),
        ]
        segment = config.segment.model_copy(update={"weights": segmenter, **REGIONS[family]})
        rows = [(text or "(empty prompt)", painted(text, sources, segment, inpaint)) for text in PROMPTS[family]]
        draw([("source", images[family]), *rows], out / f"prompts-{family}.png")
        unseen = pictures(family, COLUMNS, 12, EMPTY)
        found += [(f"{family}: picture", [s.image for s in unseen])]
        found += [(f'mask for "{FAMILIES[family].noun}"', masks_found(family, unseen, segment))]
    draw(world, out / "world.png")
    draw(vae, out / "vae.png")
    draw(found, out / "segmenter.png")


def draw(rows: Sequence[tuple[str, Sequence[np.ndarray]]], path: Path) -> None:
    """A sheet of (label, images)."""
    sheet([images for _, images in rows], [label for label, _ in rows], path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures")
    parser.add_argument("--diffusion", default="pocket", help="a diffusers folder (default: the weights that ship)")
    parser.add_argument("--segmenter", default="pocket", help="a CLIPSeg folder (default: the weights that ship)")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), help="those that the weights know")
    args = parser.parse_args()
    main(args.out, args.diffusion, args.segmenter, args.families)
