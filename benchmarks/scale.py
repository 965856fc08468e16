"""A run at full size, without its slow models: time and peak anonymous memory of every stage.

    python benchmarks/scale.py --candidates 120000 --size 178x218 --out /tmp/celeba
    python benchmarks/scale.py --candidates 500 --size 4000x3000 --out /tmp/photos

Writes as many photographs of the size as there are candidates, half of them of each class, from a pool of pictures.
Stages erm, segment and inpaint write synthetic rows (an untrained pocket backbone, one mask an image, a patch from a
pool) through the engine, so that their bookkeeping is measured; score, prune (everything is kept), retrain (last layer,
one epoch), evaluate, the export of the balanced data set and the report are the real ones. Anonymous memory (RssAnon of
/proc) leaves out mapped files, which the kernel may drop at any time. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddb import pipeline
from ddb.backends.classifiers.timm_classifier import create_classifier, save_classifier
from ddb.config import RunConfig
from ddb.context import Models
from ddb.data.images import mask_png
from ddb.data.patches import patch_of
from ddb.data.table import Dataset
from ddb.engine import journal
from ddb.engine.progress import clock, open_progress
from ddb.engine.runner import run_stage
from ddb.engine.workspace import Workspace
from ddb.run_folder import hand_over, open_run
from ddb.stage import Batch, Fixed, Row, Stage, Tables, Worker
from ddb.stages.inpaint import origin

Pixels = npt.NDArray[np.uint8]
CLASSES = ("cat", "dog")
VAL, TEST = 200, 2000
POOL = 16
"""Different pictures, and different patches."""
LIMIT_GB, LIMIT_MS = 2.0, 2.0


@dataclass(frozen=True)
class Measured:
    """A stage's wall time in seconds and peak of anonymous memory in bytes; `rows` that it made."""

    name: str
    rows: int
    seconds: float
    peak: int


def main() -> None:
    """Build the data, run the stages, print the table, and write it to `--out`/scale.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=2000)
    parser.add_argument("--size", default="178x218", help="width x height of the photographs, pixels")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    data = asked.out / "data"
    draw_photographs(data, asked.candidates, (height, width))
    config = configuration(data, asked.candidates)
    rows = list(measured_stages(config, asked.out / "run"))
    ratio = stored_ratio(asked.out / "run")
    table = [f"{'stage':<10} {'rows':>8} {'time':>9} {'ms a row':>9} {'peak RssAnon':>13}"]
    for one in rows:
        each = f"{1000 * one.seconds / one.rows:.2f}" if one.rows else ""
        table.append(f"{one.name:<10} {one.rows:>8} {clock(one.seconds):>9} {each:>9} {one.peak / 1e9:>10.2f} GB")
    table.append(f"stored counterfactual / PNG of its painted region: {ratio:.2f}")
    print("\n".join(table))
    facts = {"candidates": asked.candidates, "size": asked.size, "ratio": ratio, "stages": [vars(one) for one in rows]}
    (asked.out / "scale.json").write_text(json.dumps(facts, indent=1) + "\n")
    worst = max(one.peak for one in rows) / 1e9
    print(f"peak {worst:.2f} GB: {'within' if worst <= LIMIT_GB else 'ABOVE'} {LIMIT_GB:g} GB")


def configuration(data: Path, candidates: int) -> RunConfig:
    """The pocket backbone on these photographs; every candidate is kept and the last layer alone is retrained."""
    pocket = {"backbone": "pocket", "weights": "pocket", "image_size": 64}
    return RunConfig.model_validate(
        {
            "name": "scale",
            "device": "cpu",
            "data": {"source": "folder", "root": str(data), "phrase": "animal"},
            "erm": {**pocket, "epochs": 1, "selection": "last"},
            "invert": {"representatives": 0},
            "segment": {"backend": "clipseg", "weights": "pocket"},
            "inpaint": {"backend": "latent_diffusion", "weights": "pocket", "per_class": candidates // 2},
            "prune": {"psi": "off", "rho": "off"},
            "retrain": {"epochs": 1, "method": "last_layer", "selection": "worst_class"},
        }
    )


def draw_photographs(root: Path, candidates: int, shape: tuple[int, int]) -> None:
    """JPEG photographs in class folders below train, val and test; those that are there are not written again."""
    pool = [_jpeg(shape, seed) for seed in range(min(POOL, candidates))]
    for split, count in _sizes(candidates):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = root / split / CLASSES[number % 2] / f"{number:06d}.jpg"
            if not path.exists():
                path.write_bytes(pool[number % len(pool)])


def _sizes(candidates: int) -> list[tuple[str, int]]:
    return [("train", candidates), ("val", min(VAL, candidates)), ("test", min(TEST, candidates))]


def _jpeg(shape: tuple[int, int], seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(texture(shape, seed)).save(file, "JPEG", quality=90)
    return file.getvalue()


def texture(shape: tuple[int, int], seed: int) -> Pixels:
    """A smooth picture with fine grain, so that files have about the size of photographs: uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-6, 7, (128, 128, 3), dtype=np.int16)
    tiles = np.tile(grain, (-(-shape[0] // 128), -(-shape[1] // 128), 1))[: shape[0], : shape[1]]
    return (smooth + tiles).clip(0, 255).astype(np.uint8)


def measured_stages(config: RunConfig, out: Path) -> Iterator[Measured]:
    """Run all stages and what a run hands on; a stage that was finished before shows the time of reading it."""
    progress = open_progress(sys.stderr)
    with journal.locked(out):
        workspace = Workspace(out, pipeline.STAGES)
        with watched() as seen:
            dataset = open_run(workspace, config, progress)
        yield Measured("data", dataset.samples.num_rows, *seen())
        change = partial(synthetic, config=config, dataset=dataset)
        setup = pipeline.set_up(config, dataset, workspace, progress, change)
        for name in pipeline.STAGES:
            with watched() as seen:
                run_stage(workspace, name, setup)
            rows = workspace.table(name, ["id"]).num_rows
            yield Measured(name, rows, *seen())
        with watched() as seen:
            hand_over(workspace, dataset.without_attributes(), progress)
        yield Measured("hand over", 0, *seen())


@contextmanager
def watched() -> Iterator[Callable[[], tuple[float, int]]]:
    """Inside, anonymous memory is sampled; the value called afterwards gives (seconds, peak in bytes)."""
    started, peak, done = time.monotonic(), [anonymous()], threading.Event()

    def sample() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    ended: list[float] = []
    yield lambda: ((ended[0] if ended else time.monotonic()) - started, peak[0])
    ended.append(time.monotonic())
    done.set()
    thread.join()


def anonymous() -> int:
    """RssAnon of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon: this benchmark needs Linux 4.5 or newer")


def synthetic(stages: list[Stage], config: RunConfig, dataset: Dataset) -> list[Stage]:
    """The stages with rows that need no trained model in erm, segment and inpaint."""
    shape = _shape(dataset)
    mask, patches = mask_png(_region(shape)), [_patch(shape, seed) for seed in range(POOL)]
    workers = {
        "erm": partial(_erm, config=config, dataset=dataset),
        "segment": lambda models, tables, folder, fixed: partial(_rows, one=partial(_mask, png=mask)),
        "inpaint": lambda models, tables, folder, fixed: partial(
            _rows, one=partial(_candidate, dataset=dataset, shape=shape, patches=patches)
        ),
    }
    return [
        replace(stage, open=workers[stage.name], content={**stage.content, "synthetic": True}, batch_size=32)
        if stage.name in workers
        else stage
        for stage in stages
    ]


def _shape(dataset: Dataset) -> tuple[int, int]:
    with Image.open(dataset.root / dataset.samples["image"][0].as_py()) as image:
        return image.height, image.width


def _rows(batch: Batch, one: Callable[[str], Row]) -> list[Row]:
    return [one(name) for name in batch if name is not None]


def _erm(models: Models, tables: Tables, folder: Path, fixed: Fixed, config: RunConfig, dataset: Dataset) -> Worker:
    save_classifier(create_classifier(config.erm, dataset.classes, 0), folder / "classifier")
    labels = dict(zip(dataset.samples["id"].to_pylist(), dataset.samples["label"].to_pylist(), strict=True))
    splits = dict(zip(dataset.samples["id"].to_pylist(), dataset.samples["split"].to_pylist(), strict=True))

    def one(name: str) -> Row:
        loss = zlib.crc32(name.encode()) / 2**32
        own = float(np.exp(-loss))
        probabilities = [own, 1 - own] if labels[name] == 0 else [1 - own, own]
        known = {"id": name, "label": labels[name], "split": splits[name], "status": "ok", "error": ""}
        return {
            **known,
            "loss": loss,
            "probabilities": probabilities,
            "logits": np.log(probabilities).tolist(),
            "correct": own > 0.5,
        }

    return partial(_rows, one=one)


def _region(shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A region of four tenths of each side in the middle."""
    mask = np.zeros(shape, np.bool_)
    mask[int(0.3 * shape[0]) : int(0.7 * shape[0]), int(0.3 * shape[1]) : int(0.7 * shape[1])] = True
    return mask


def _mask(name: str, png: bytes) -> Row:
    found = {"object_mask": png, "mask": png, "score": 1.0, "area": 0.16}
    return {"id": name, **found, "status": "ok", "error": ""}


def _patch(shape: tuple[int, int], seed: int) -> tuple[tuple[int, int, int, int], bytes]:
    region = _region(shape)
    painted = texture(shape, seed) * region[..., None]
    return patch_of(np.zeros_like(painted), painted, region)


def _candidate(
    name: str, dataset: Dataset, shape: tuple[int, int], patches: list[tuple[tuple[int, int, int, int], bytes]]
) -> Row:
    box, patch = patches[zlib.crc32(name.encode()) % len(patches)]
    return {
        **origin(name, dataset),
        "seed": 0,
        "box": list(box),
        "height": shape[0],
        "width": shape[1],
        "patch": patch,
        "prompt": "",
        "model": "synthetic",
        "status": "ok",
        "error": "",
    }


def stored_ratio(run: Path, samples: int = 50) -> float:
    """Bytes of stored patches over those of a PNG (RGB, Pillow's default) of the same painted box."""
    workspace = Workspace.at(run)
    ids = workspace.table("inpaint", ["id"])["id"].to_pylist()[:samples]
    stored = plain = 0
    for patch in workspace.payload("inpaint", "patch", ids):
        file = io.BytesIO()
        Image.open(io.BytesIO(patch), formats=("PNG",)).convert("RGB").save(file, "PNG")
        stored, plain = stored + len(patch), plain + len(file.getvalue())
    return stored / plain


if __name__ == "__main__":
    main()
