"""Put trained weights into the package as float16 safetensors, and their loss curves and figures beside the scripts.

python tools/pocket/install.py --build build/pocket
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionInpaintPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPSegForImageSegmentation

from ddb.pocket.models import WEIGHTS

CURVES = ("vae", "diffusion", "segmenter", "backbone")


def install(build: Path, figures: Path) -> None:
    for name in ("diffusion", "segmenter", "backbone"):
        shutil.rmtree(WEIGHTS / name, ignore_errors=True)
    options = {"safety_checker": None, "dtype": torch.float16}
    StableDiffusionInpaintPipeline.from_pretrained(build / "diffusion", **options).save_pretrained(
        WEIGHTS / "diffusion"
    )
    CLIPSegForImageSegmentation.from_pretrained(build / "segmenter", dtype=torch.float16).save_pretrained(
        WEIGHTS / "segmenter"
    )
    for file in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(build / "segmenter" / file, WEIGHTS / "segmenter" / file)
    (WEIGHTS / "backbone").mkdir(parents=True)
    state = load_file(build / "backbone" / "model.safetensors")
    save_file(
        {k: (v.half() if v.is_floating_point() else v) for k, v in state.items()},
        WEIGHTS / "backbone/model.safetensors",
    )
    shutil.copyfile(build / "backbone" / "config.json", WEIGHTS / "backbone" / "config.json")
    figures.mkdir(parents=True, exist_ok=True)
    for name in CURVES:
        history = build / name / "history.json"
        if history.exists():
            (figures / f"{name}.json").write_text(json.dumps(json.loads(history.read_text())) + "\n")
    total = sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file())
    print(f"{total / 1e6:.1f} MB in {WEIGHTS}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent / "figures")
    args = parser.parse_args()
    install(args.build, args.figures)
