"""Draw the loss curves and sample sheets of the pocket weights into `figures/`.

    python tools/pocket/sheets.py --out tools/pocket/figures

curves.png      loss of each training, from figures/<part>.json
world.png       pictures of the world above their causal masks
vae.png         unseen pictures above what the autoencoder makes of them
prompts.png     one source a column, one prompt a row, painted by the inpainting model into the same region
segmenter.png   unseen pictures above the mask found for the noun; the last ones show an empty place
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw

from ddb.backends import Task
from ddb.backends.latent_diffusion import decode, encode
from ddb.backends.latent_diffusion_loading import open_diffusion
from ddb.backends.registry import open_generator, open_segmenter
from ddb.config import InpaintConfig, SegmentConfig
from ddb.config_load import load_config
from ddb.data.masks import shaped
from ddb.learn.device import open_accelerator
from ddb.learn.seeds import seed_of
from ddb.pocket.world import Picture, render, sample_scene

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (the backend is chosen first: there is no screen)

COLUMNS = 12
ZOOM = 2
LABEL = 190
PROMPTS = (
    "a photo of a bird with a short neck, a conical bill, short legs and a round body",
    "a photo of a bird with a long neck, a flat bill, long legs and a boat-shaped body",
    "a photo of a red bird",
    "a photo of a white long-necked bird",
    "a photo of a blue short-legged bird on a lake",
    "",
)
CURVES = {"vae": "crops", "diffusion": "samples", "segmenter": "images", "backbone": "images"}
"""Part -> what its history counts."""


def curves(folder: Path) -> None:
    """The recorded losses, one axis a training."""
    figure, axes = pyplot.subplots(1, len(CURVES), figsize=(14, 3), layout="constrained")
    for axis, (name, unit) in zip(axes, CURVES.items(), strict=True):
        content = json.loads((folder / f"{name}.json").read_text())
        history = content["history"] if isinstance(content, dict) else content
        axis.plot([row[unit] / 1000 for row in history], [row["loss"] for row in history], marker=".", markersize=3)
        axis.set(title=name, xlabel=f"{unit} seen, thousands", ylabel="training loss")
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


def pictures(count: int, seed: int, empty: int = 0) -> list[Picture]:
    """Unseen pictures, both body plans and chimeras in turn; the last `empty` ones show no subject."""
    rng = np.random.default_rng(seed)
    plans = ("landbird", "waterbird", None)
    return [
        render(sample_scene(rng, plan=plans[i % 3], place=("forest", "lake")[i % 2], empty=i >= count - empty))
        for i in range(count)
    ]


def as_image(mask: np.ndarray) -> np.ndarray:
    """A mask as black and white RGB."""
    return np.repeat((mask * np.uint8(255))[..., None].astype(np.uint8), 3, axis=2)


def reconstructions(images: Sequence[np.ndarray], settings: InpaintConfig) -> list[np.ndarray]:
    """Through the encoder and back."""
    model = open_diffusion(settings.weights, open_accelerator("cpu", "fp32"))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return decode(model, encode(model, pixels))


def painted(prompt: str, sources: Sequence[Picture], segment: SegmentConfig, settings: InpaintConfig) -> list:
    """Each source with its region repainted from the prompt; a column shares its noise."""
    tasks = [Task(s.image, shaped(s.mask, segment), 0, prompt, seed_of(0, "sheet", i)) for i, s in enumerate(sources)]
    return [found.image for found in open_generator(settings, "cpu", "fp32").paint(tasks)]


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    config = load_config("pocket-waterbirds")
    segment, inpaint = config.segment, config.inpaint
    curves(out)
    shown = pictures(COLUMNS, 11)
    sheet([[s.image for s in shown], [as_image(s.mask) for s in shown]], ["picture", "causal mask"], out / "world.png")
    images = [s.image for s in shown]
    sheet([images, reconstructions(images, inpaint)], ["picture", "after the autoencoder"], out / "vae.png")
    rows = [painted(prompt, shown, segment, inpaint) for prompt in PROMPTS]
    names = [prompt or "(empty prompt)" for prompt in PROMPTS]
    sheet([images, *rows], ["source", *names], out / "prompts.png")
    unseen = pictures(COLUMNS, 12, empty=3)
    segmenter = open_segmenter(segment, "cpu", "fp32")
    found = segmenter.segment([str(i) for i in range(COLUMNS)], [s.image for s in unseen], "bird")
    masks = [as_image(one.mask) for one in found]
    sheet([[s.image for s in unseen], masks], ["picture", 'mask for "bird"'], out / "segmenter.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures")
    main(parser.parse_args().out)
