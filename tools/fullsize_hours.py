"""What a preset of the paper costs: floating point operations of each stage, and the hours that follow from them.

    python tools/fullsize_hours.py [PRESET...]           (default: waterbirds, celeba, metashift)

Models are built from their published configurations on torch's meta device and counted by `torch.utils.flop_counter`
(a multiplication and an addition are two operations); a training step counts its backward pass. How many images, steps
and passes there are comes from the preset and the published sizes of the data set. Hours are operations over what a
GPU sustains: see SUSTAINED, an assumption to be replaced by your own measurement.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import timm
import torch
from diffusers import AutoencoderKL
from fullsize_models import SAM2_SMALL, VAE
from generator_flops import SD2, operations, unet_pass
from transformers import Sam2Config, Sam2Model, SwinBackbone, SwinConfig

from ddb.backends.generators.diffusion.learning.inversion import HELD_OUT_PAIRS
from ddb.config import RunConfig
from ddb.config.load import load_config

SWIN_B = {
    "image_size": 384,
    "embed_dim": 128,
    "depths": [2, 2, 18, 2],
    "num_heads": [4, 8, 16, 32],
    "window_size": 12,
    "out_features": ["stage2", "stage3", "stage4"],
}
SIZES = {"waterbirds": (4795, 1199, 5794), "celeba": (162770, 19867, 19962), "metashift": (1123, 69, 391)}
"""Training, validation, test images, as published (MetaShift: DISC's variant, its test images split 15 to 85)."""
SUSTAINED = {"RTX 4090": 60e12, "A100 40 GB": 100e12, "H100 80 GB": 250e12}
"""Operations a second in bf16 that a GPU sustains in such work: a quarter to a third of its peak."""
CLASSES = 2


@dataclass(frozen=True)
class Costs:
    """Operations, units of 1e9: an image through the classifier, the detector's backbone (the rest is less, and cannot
    be counted without weights), SAM's image encoder; a pass and a learning pass of the UNet; an image into latents and
    back."""

    classifier: float
    detector: float
    masks: float
    unet: float
    learning: float
    coding: float


def costs(side: int) -> Costs:
    with torch.device("meta"):
        resnet = timm.create_model("resnet50").eval()
        classifier = operations(lambda: resnet(torch.empty(1, 3, 224, 224)))
        swin = SwinBackbone(SwinConfig(**SWIN_B)).eval()
        detector = operations(lambda: swin(torch.empty(1, 3, 800, 1066)))
        sam = Sam2Model(Sam2Config(vision_config=SAM2_SMALL)).eval()
        masks = operations(lambda: sam.get_image_embeddings(torch.empty(1, 3, 1024, 1024)))
        vae = AutoencoderKL(**VAE).requires_grad_(False)
        into = operations(lambda: vae.encode(torch.empty(1, 3, side, side)))
        back = operations(lambda: vae.decode(torch.empty(1, 4, side // 8, side // 8)))
        unet, learning, _ = unet_pass(SD2, 9, side)
    return Costs(classifier, detector, masks, unet, learning, into + back)


def stages(config: RunConfig, sizes: tuple[int, int, int], cost: Costs) -> dict[str, float]:
    """Stage -> operations, units of 1e15."""
    train, val, test = sizes
    asked = config.inpaint.per_class
    painted = sum(asked) if isinstance(asked, tuple) else CLASSES * (asked or train // CLASSES)
    passes = config.inpaint.steps * (2 if config.inpaint.guidance > 1 else 1)
    image = passes * cost.unet + cost.coding
    checks = config.invert.steps // config.invert.check_every + 1
    token = config.invert.steps * config.invert.batch_size * cost.learning + checks * HELD_OUT_PAIRS * cost.unet
    found = cost.detector + cost.masks
    extra = config.retrain.generated_batch * CLASSES / config.retrain.batch_size
    giga = {
        "erm": config.erm.epochs * (3 * train + val) * cost.classifier + (train + val) * cost.classifier,
        "invert": CLASSES * (token + config.invert.representatives * found + 4 * image),
        "segment": painted * found,
        "inpaint": painted * image,
        "score": 2 * painted * cost.classifier,
        "prune": 0.0,
        "retrain": config.retrain.epochs * (3 * (1 + extra) * train + val) * cost.classifier,
        "evaluate": 2 * test * cost.classifier,
    }
    return {name: value / 1e6 for name, value in giga.items()}


def main(names: Sequence[str]) -> None:
    """Print one table a preset."""
    cost = costs(512)
    print(
        f"GFLOP: ResNet-50 {cost.classifier:,.1f} an image; GroundingDINO-base {cost.detector:,.0f}; SAM 2.1 small ",
        end="",
    )
    print(
        f"{cost.masks:,.0f}; UNet {cost.unet:,.0f} a pass, {cost.learning:,.0f} a learning pass; VAE {cost.coding:,.0f}"
    )
    for name in names or SIZES:
        found = stages(load_config(name), SIZES[name], cost)
        print(f"\n| {name} | PFLOP | " + " | ".join(f"{gpu}, hours" for gpu in SUSTAINED) + " |")
        print("|---|---|" + "---|" * len(SUSTAINED))
        for stage, work in [*found.items(), ("all", sum(found.values()))]:
            hours = " | ".join(f"{work * 1e15 / speed / 3600:,.2f}" for speed in SUSTAINED.values())
            print(f"| {stage} | {work:,.1f} | {hours} |")


if __name__ == "__main__":
    main(sys.argv[1:])
