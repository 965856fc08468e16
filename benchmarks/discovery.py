"""Does `ddb discover` find the shortcuts of the built-in worlds, without labels, and nothing where there is none?

    python benchmarks/discovery.py --out build/discovery [--part worlds none inseparable two segmenter] [--seeds 5]

worlds       the worlds as they are: agreement of groups with the true attribute on training images, first words
none         correlation 50%: how often nothing is found
inseparable  correlation 100%: surroundings named and reported as inseparable from the class
two          birds whose colour goes with the class as the place does: both are reported
segmenter    the worlds as they are, masks by the built-in segmenter instead of given ones

Each data set has 500 training images and otherwise the shares of its preset. Prints a table in Markdown; `--out` keeps
each discovery, so that a second call adds what is missing.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddb.config import PocketConfig, RunConfig
from ddb.config.load import load_config
from ddb.data.sources.load import load_dataset
from ddb.discovery.run import discover
from ddb.pocket import birds, datasets
from ddb.pocket.miniatures import Item

WORLDS = ("waterbirds", "metashift", "celeba")
RIGHT = {
    "waterbirds": ({"forest", "woods"}, {"lake", "pond"}),
    "metashift": (
        {"room", "wall", "sofa", "bed", "bedroom", "shelf", "bookcase", "living room", "floor"},
        {"lawn", "grass", "garden", "park", "bench", "bicycle", "tree", "sky"},
    ),
    "celeba": ({"round face", "thin eyebrows"}, {"square face", "thick eyebrows", "beard"}),
}
"""World -> words that describe the places of attribute 0 and 1."""
COLOURS = ({"red", "orange", "yellow", "pink"}, {"blue", "purple", "white", "black"})
"""Colours of landbirds and waterbirds in the data with two shortcuts."""
COLOUR_SHARE = 0.9
SIZES = {"train": 500, "val": 60, "test": 8}


@dataclass(frozen=True)
class Outcome:
    """One discovery: `agreement` with the true attribute on training images (groups as they are, each taken for the
    attribute that most of its images have); whether all first words are right; what was found."""

    part: str
    world: str
    seed: int
    found: bool
    inseparable: bool
    agreement: float | None
    right: bool | None
    names: list[str]
    inside: list[str]
    phi: float | None


def settings(world: str, seed: int, root: Path, masks: bool) -> RunConfig:
    """The world's preset on a folder of its data."""
    given = ["segment.backend=given", f"segment.masks={root / 'masks'}", "inpaint.paste=region"] if masks else []
    return load_config(
        f"pocket-{world}",
        [f"data.source={world}", f"data.root={root}", f"seed={seed}", "evaluate.in_distribution=0", *given],
    )


def drawn(out: Path, world: str, seed: int, **changes: Any) -> Path:
    """A folder with the world's data."""
    root = out / "data"
    if not root.exists():
        preset = load_config(f"pocket-{world}").data.pocket.model_dump()
        datasets.write_pocket(root, PocketConfig.model_validate({**preset, **SIZES, "seed": 1000 + seed, **changes}))
    return root


def coloured(seed: int) -> Callable[[Item], Item]:
    """Birds in colours that go with their class, independently of their place."""
    rng = np.random.default_rng(seed)

    def paint(item: Item) -> Item:
        own = item.cell.label if rng.random() < COLOUR_SHARE else 1 - item.cell.label
        colour = str(rng.choice(sorted(COLOURS[own])))
        assert colour in birds.COLOURS
        return replace(item, scene=replace(item.scene, subject=replace(item.scene.subject, colour=colour)))

    return paint


def two_shortcuts(out: Path, seed: int) -> Path:
    """Birds with correlated places and colours."""
    root = out / "data"
    if not root.exists():
        config = PocketConfig.model_validate({**SIZES, "seed": 1000 + seed, "correlation": 0.9})
        paint = coloured(seed)
        items = [paint(item) for item in datasets.items(datasets.splits(config), config)]
        datasets._draw(root, items, datasets.LAYOUTS["waterbirds"])
    return root


def measured(part: str, world: str, seed: int, out: Path) -> Outcome:
    """Discover, and compare with the truth."""
    record = out / "outcome.json"
    if record.is_file():
        return Outcome(**json.loads(record.read_text()))
    out.mkdir(parents=True, exist_ok=True)
    if part == "two":
        root = two_shortcuts(out, seed)
    else:
        shares: dict[str, Any] = {"none": {"correlation": 0.5}, "inseparable": {"correlation": 1.0}}
        changes = dict(shares.get(part, {}))
        if world == "celeba" and part in ("none", "inseparable"):
            changes = {**changes, "square": changes["correlation"]}
        root = drawn(out, world, seed, **changes)
    config = settings(world, seed, root, masks=part != "segmenter")
    found = discover(config, out / "found", say=lambda line: None)
    truth = load_dataset(config.data, out / "found" / "cache").samples
    train = np.array(truth["split"].to_pylist()) == "train"
    attribute = truth["attribute"].to_numpy()
    around = found.surroundings
    agreement, right = None, None
    if around:
        names = [group.name for group in around[0].groups]
        meant = [Counter(attribute[train & (around[0].members == n)].tolist()) for n in range(len(names))]
        agreement = sum(max(own.values(), default=0) for own in meant) / int(train.sum())
        named = [(name, own.most_common(1)[0][0]) for name, own in zip(names, meant, strict=True) if own]
        right = all(name in RIGHT[world][value] for name, value in named)
    outcome = Outcome(
        part,
        world,
        seed,
        bool(around),
        bool(around and around[0].inseparable),
        agreement,
        right,
        [group.name for finding in around for group in finding.groups],
        [group.name for finding in found.object if not finding.inseparable for group in finding.groups],
        around[0].phi if around else None,
    )
    record.write_text(json.dumps(asdict(outcome)))
    print(json.dumps(asdict(outcome)), flush=True)
    return outcome


def row(part: str, world: str, outcomes: list[Outcome]) -> str:
    """A line of the table."""
    known = [one.agreement for one in outcomes if one.agreement is not None]
    agreement = f"{min(known):.1%} to {max(known):.1%}" if known else "–"
    right = sum(bool(one.right) for one in outcomes)
    found = sum(one.found for one in outcomes)
    apart = sum(one.inseparable for one in outcomes)
    inside = sum(bool(one.inside) for one in outcomes)
    names = ", ".join(sorted({name for one in outcomes for name in one.names})) or "–"
    if part == "two":
        names += "; object: " + ", ".join(sorted({name for one in outcomes for name in one.inside}))
    counts = " | ".join(f"{count} of {len(outcomes)}" if found or count else "–" for count in (right, apart, inside))
    return f"| {part} | {world} | {found} of {len(outcomes)} | {agreement} | {counts} | {names} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", nargs="+", default=["worlds", "none", "inseparable", "two", "segmenter"])
    parser.add_argument("--world", nargs="+", default=list(WORLDS))
    parser.add_argument("--seeds", type=int, default=5, help="of each part; twice as many of `none`")
    args = parser.parse_args()
    rows = []
    for part in args.part:
        for world in args.world:
            if part == "two" and world != "waterbirds":
                continue
            seeds = range(2 * args.seeds if part == "none" else args.seeds)
            outcomes = [measured(part, world, seed, args.out / part / world / str(seed)) for seed in seeds]
            rows.append(row(part, world, outcomes))
    print("| data | world | found | agreement | first words right | inseparable | also in the object | names |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
