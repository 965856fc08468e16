"""Put trained weights into the package as float16 safetensors, and their loss curves and figures beside the scripts.

    python tools/pocket/install.py --build build/pocket

Everything is read and written beside its place before anything there is replaced.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionInpaintPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPSegForImageSegmentation

from ddb.pocket.models import WEIGHTS

PARTS = ("diffusion", "segmenter", "encoder", "backbone")
CURVES = ("vae", *PARTS)


def install(build: Path, weights: Path, figures: Path) -> None:
    """Replace the folders of the parts under `weights` by those under `build`, and the curves under `figures`."""
    draft = weights.with_name(f"{weights.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    options = {"safety_checker": None, "dtype": torch.float16}
    StableDiffusionInpaintPipeline.from_pretrained(build / "diffusion", **options).save_pretrained(draft / "diffusion")
    for name, kind in (("segmenter", CLIPSegForImageSegmentation), ("encoder", CLIPModel)):
        kind.from_pretrained(build / name, dtype=torch.float16).save_pretrained(draft / name)
        for file in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(build / name / file, draft / name / file)
    for config in draft.rglob("*.json"):
        _forget_origin(config)
    (draft / "backbone").mkdir()
    state = load_file(build / "backbone" / "model.safetensors")
    halves = {k: (v.half() if v.is_floating_point() else v) for k, v in state.items()}
    save_file(halves, draft / "backbone" / "model.safetensors")
    shutil.copyfile(build / "backbone" / "config.json", draft / "backbone" / "config.json")
    weights.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        shutil.rmtree(weights / part, ignore_errors=True)
        (draft / part).rename(weights / part)
    draft.rmdir()
    figures.mkdir(parents=True, exist_ok=True)
    for name in CURVES:
        history = build / name / "history.json"
        if history.exists():
            (figures / f"{name}.json").write_text(json.dumps(json.loads(history.read_text())) + "\n")
    total = sum(path.stat().st_size for path in weights.rglob("*") if path.is_file())
    print(f"{total / 1e6:.1f} MB in {weights}")


def _forget_origin(config: Path) -> None:
    """Take the folder that a model was read from out of its config: it belongs to the machine that trained it."""
    tree = json.loads(config.read_text(encoding="utf-8"))
    if tree.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(tree, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where they go (default: into the package)")
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent / "figures")
    args = parser.parse_args()
    install(args.build, args.weights, args.figures)
