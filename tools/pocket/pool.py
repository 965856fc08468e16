"""Render the pictures that the pocket weights are trained on: images, masks, captions and attributes, in one folder.

    python tools/pocket/pool.py --out build/pocket/pool --count 60000
    python tools/pocket/pool.py --out build/pocket/chimeras --count 40000 --seed 7 --chimeras-only

images.npy  uint8 NHWC          masks.npy  bool NHW, True where the subject is
rows.json   a row a picture: family, place, captions (4), subject (its attributes, which depend on the family; null for
            an empty place). Written last: a folder with rows.json is complete.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from shares import SHARES, add_family_numbers, counts_of, numbers_of

from ddb.pocket.world import FAMILIES, caption, render, sample_scene

EMPTY_SHARE = 0.08
"""Share of pictures without a subject: a forest, a sofa, a bald face."""
CHIMERA_SHARE = 0.16
CAPTIONS_PER_IMAGE = 4
CHUNK = 500


def render_chunk(
    seed: int, count: int, chimeras_only: bool, shares: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray, list[dict[str, object]]]:
    """`count` pictures from one seed, families mixed; `chimeras_only` draws every part independently (for the backbone)
    and leaves no place empty."""
    rng = np.random.default_rng(seed)
    families = [family for family, number in counts_of(count, shares).items() for _ in range(number)]
    rng.shuffle(families)
    images, masks, rows = [], [], []
    for family in families:
        draw = rng.random()
        plan = None
        if not chimeras_only and draw >= EMPTY_SHARE + CHIMERA_SHARE:
            plan = str(rng.choice(FAMILIES[family].plans))
        scene = sample_scene(rng, family=family, plan=plan, empty=draw < EMPTY_SHARE and not chimeras_only)
        picture = render(scene)
        images.append(picture.image)
        masks.append(picture.mask)
        captions = [caption(scene, rng) for _ in range(CAPTIONS_PER_IMAGE)]
        subject = asdict(scene.subject) if scene.subject is not None else None
        rows.append({"family": family, "place": scene.place, "captions": captions, "subject": subject})
    return np.stack(images), np.stack(masks), rows


def write_pool(
    out: Path, count: int, seed: int, chimeras_only: bool, workers: int, shares: Mapping[str, float]
) -> None:
    """Write the pool under `out`, chunk by chunk (memory: a few chunks)."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "rows.json").unlink(missing_ok=True)
    sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
    seeds = np.random.SeedSequence(seed).generate_state(len(sizes)).tolist()
    images = np.lib.format.open_memmap(out / "images.npy", "w+", np.uint8, (count, 64, 64, 3))
    masks = np.lib.format.open_memmap(out / "masks.npy", "w+", np.bool_, (count, 64, 64))
    rows: list[dict[str, object]] = []
    with ProcessPoolExecutor(workers) as pool:
        several = len(sizes)
        for drawn in pool.map(render_chunk, seeds, sizes, [chimeras_only] * several, [shares] * several):
            here = slice(len(rows), len(rows) + len(drawn[2]))
            images[here], masks[here] = drawn[0], drawn[1]
            rows += drawn[2]
    images.flush(), masks.flush()
    (out / "rows.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chimeras-only", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    add_family_numbers(parser, "--shares", SHARES, "share of each family")
    args = parser.parse_args()
    shares = numbers_of(args.shares, SHARES)
    write_pool(args.out, args.count, args.seed, args.chimeras_only, args.workers, shares)
