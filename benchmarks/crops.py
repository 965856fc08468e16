"""What training crops of photographs cost: disk for each image and time for an epoch's crops, from the store of whole
pictures and from the store of squares.

    python benchmarks/crops.py --images 200 --workers 2

Draws synthetic photographs (4000 x 3000 pixels, JPEG), builds both stores, and reads one epoch of crops from each
without training. `sharpness`: mean absolute difference of neighbouring pixels in the crops, in grey levels: what is
left of the photograph's detail.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from ddb.config import Augment
from ddb.data.images import decode
from ddb.data.preprocessing import Preprocessing
from ddb.data.stores.picture_file import open_pictures, write_pictures
from ddb.data.stores.picture_store import for_crops
from ddb.data.stores.pixel_file import open_pixels, write_pixels
from ddb.learn.classifier import to_tensor
from ddb.learn.device import CPU
from ddb.learn.training.augment import RandomNumbers, draw_windows
from ddb.learn.training.crops import crops
from ddb.learn.training.material import Images

HOW = Preprocessing(224, 1.0, "bicubic", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
BATCH = 32
SHAPE = (3000, 4000)


def photograph(seed: int) -> bytes:
    """A JPEG of `SHAPE` with detail at every scale, as a photograph has."""
    rng, total = np.random.default_rng(seed), np.zeros((*SHAPE, 3), np.float32)
    for size in (8, 32, 128, 512, 2048):
        noise = rng.integers(0, 256, (size * 3 // 4, size, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1)).resize(SHAPE[::-1], Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32) / 5
    with tempfile.TemporaryFile() as file:
        Image.fromarray(total.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        file.seek(0)
        return file.read()


def epoch(images: Images, augment: Augment) -> tuple[float, float]:
    """Seconds for one epoch's crops, and their sharpness."""
    generator, rows = torch.Generator().manual_seed(0), np.arange(len(images.labels))
    sharpness, start = [], time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for first in range(0, len(rows), BATCH):
            part = rows[first : first + BATCH]
            windows = draw_windows(augment, RandomNumbers(generator, len(part)))
            squares = np.empty((len(part), HOW.size, HOW.size, 3), np.uint8)
            left = crops([(images, part)], windows, squares, workers)
            found = left.of_squares(to_tensor(squares, CPU))
            sharpness.append(float(found.diff(dim=3).abs().mean()))
    return time.perf_counter() - start, float(np.mean(sharpness))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--originals", type=int, default=4, help="different photographs, repeated")
    parser.add_argument("--workers", type=int, default=None)
    given = parser.parse_args()
    originals = [decode(photograph(seed)) for seed in range(given.originals)]
    labels = np.zeros(given.images, np.int64)
    print("| store | smallest crop (area) | disk, KB an image | ms to build one | ms to crop one | sharpness |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        path, count = Path(place) / "squares.npy", given.images
        start = time.perf_counter()
        write_pixels(path, count, HOW.size, lambda row: HOW.square(originals[row % len(originals)]), given.workers)
        built = time.perf_counter() - start
        squares = open_pixels(path, count, HOW.size)
        assert squares is not None
        report("squares", 0.7, path, built, Images(squares, labels))
        for smallest in (0.7, 0.25, 0.08):
            path = Path(place) / f"pictures-{smallest}.bin"
            start = time.perf_counter()

            def draw(row: int, smallest: float = smallest) -> np.ndarray:
                return for_crops(originals[row % len(originals)], HOW.size, smallest)

            write_pictures(path, count, draw, given.workers)
            built = time.perf_counter() - start
            pictures = open_pictures(path, count)
            report("pictures", smallest, path, built, Images(squares, labels, pictures=pictures))


def report(name: str, smallest: float, path: Path, built: float, images: Images) -> None:
    """One row of the table."""
    augment = Augment(scale=(smallest, 1.0))
    epoch(images, augment)  # the file is read into the page cache
    seconds, sharpness = epoch(images, augment)
    count = len(images.labels)
    disk, build, crop = path.stat().st_size / count / 1e3, 1e3 * built / count, 1e3 * seconds / count
    print(f"| {name} | {smallest:g} | {disk:.0f} | {build:.0f} | {crop:.1f} | {sharpness:.1f} |", flush=True)


if __name__ == "__main__":
    main()
