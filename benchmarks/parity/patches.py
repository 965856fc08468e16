"""A patched copy of a checkout. The checkout itself is not touched."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.parity.ground import BACKBONE, CLASSES, SIDE

from ddb.backends.classifiers.timm_classifier import create_classifier


@dataclass(frozen=True)
class Patch:
    """`old`, which stands in `file` (all places), becomes `new`. `why`: what the public code cannot do, or what is not
    the same on both sides without it; "" for a part of the patch before."""

    file: str
    old: str
    new: str
    why: str


def patched(source: Path, patches: Sequence[Patch], copy: Path) -> Path:
    """Copy the Python files of `source` to the new folder `copy` and patch them there. SystemExit where the text to
    replace is not found: the checkout is another version."""
    if not source.is_dir():
        raise SystemExit(f"{source} is not there. Fetch it: the command stands at the top of the code's file here.")
    shutil.rmtree(copy, ignore_errors=True)
    for path in sorted(source.rglob("*.py")):
        target = copy / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for patch in patches:
        path = copy / patch.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if patch.old not in text:
            raise SystemExit(f"{source / patch.file} lacks {patch.old!r}: it is another version of the public code.")
        path.write_text(text.replace(patch.old, patch.new), encoding="utf-8")
    return copy


def statistics() -> tuple[str, str]:
    """Mean and standard deviation of the pocket backbone's input, as Python lists."""
    pictures = create_classifier(BACKBONE, CLASSES, 0).card.preprocessing
    return str(list(pictures.mean)), str(list(pictures.std))


def small_images(file: str, scale: str, resolution: str) -> list[Patch]:
    """For the transform that several codes have from group_DRO, in `file`: 64 x 64 images as they are, normalised as
    the pocket backbone wants it, where Waterbirds' are scaled to 256 and cut to 224. `scale`: how the ratio of the two
    is written; `resolution`: the file that says 224."""
    mean, std = statistics()
    return [
        Patch(file, scale, "1.0", "images stay 64 x 64"),
        Patch(resolution, "(224, 224)", f"({SIDE}, {SIDE})", ""),
        Patch(file, "[0.485, 0.456, 0.406]", mean, "the backbone's normalisation"),
        Patch(file, "[0.229, 0.224, 0.225]", std, ""),
    ]
