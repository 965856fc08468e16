"""Render the pictures that the pocket weights are trained on: images, masks, captions and attributes, in one folder.

python tools/pocket/pool.py --out build/pocket/pool --count 60000
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ddb.pocket.world import caption, render, sample_scene

EMPTY_SHARE = 0.08
CHIMERA_SHARE = 0.16
CAPTIONS_PER_IMAGE = 4
CHUNK = 500


def render_chunk(seed: int, count: int, chimeras_only: bool) -> tuple[np.ndarray, np.ndarray, list[dict[str, object]]]:
    """`count` pictures from one seed; `chimeras_only` draws every part independently (for the backbone)."""
    rng = np.random.default_rng(seed)
    images, masks, rows = [], [], []
    for _ in range(count):
        draw = rng.random()
        plan = None
        if not chimeras_only and draw >= EMPTY_SHARE + CHIMERA_SHARE:
            plan = str(rng.choice(["landbird", "waterbird"]))
        scene = sample_scene(rng, plan=plan, empty=draw < EMPTY_SHARE and not chimeras_only)
        picture = render(scene)
        images.append(picture.image)
        masks.append(picture.mask)
        captions = [caption(scene, rng) for _ in range(CAPTIONS_PER_IMAGE)]
        subject = asdict(scene.subject) if scene.subject is not None else None
        rows.append({"captions": captions, "place": scene.place, "subject": subject})
    return np.stack(images), np.stack(masks), rows


def write_pool(out: Path, count: int, seed: int, chimeras_only: bool, workers: int) -> None:
    """Write `images.npy` (uint8 NHWC), `masks.npy` (bool NHW) and `rows.json` under `out`."""
    out.mkdir(parents=True, exist_ok=True)
    sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
    seeds = np.random.SeedSequence(seed).generate_state(len(sizes)).tolist()
    with ProcessPoolExecutor(workers) as pool:
        chunks = list(pool.map(render_chunk, seeds, sizes, [chimeras_only] * len(sizes)))
    np.save(out / "images.npy", np.concatenate([c[0] for c in chunks]))
    np.save(out / "masks.npy", np.concatenate([c[1] for c in chunks]))
    (out / "rows.json").write_text(json.dumps([row for c in chunks for row in c[2]]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chimeras-only", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    write_pool(args.out, args.count, args.seed, args.chimeras_only, args.workers)
