"""`ddb doctor`: what this machine lacks for a run, and the command that mends it. Nothing is computed or downloaded."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from ddb.backends.checks import named_weights
from ddb.backends.weights import parse_weights
from ddb.config import LatentDiffusionConfig, RunConfig
from ddb.config.load import load_config
from ddb.errors import DDBError
from ddb.learn.device import open_accelerator
from ddb.learn.processes import started_with_others
from ddb.models import hub
from ddb.models.roles import Wanted
from ddb.models.verify import verify_folder

DISTRIBUTION = "diffusion-driven-balancing"
GIGA = 1e9
PNG_BYTES = 1.5
"""Bytes of a painted photograph's PNG, a pixel."""
USUAL_SIDE = 512
"""Side of a photograph, pixels, where no generator works at a size of its own."""
ROOM = 3.0
"""Memory beside the largest model's weights: activations, other models, Python, gigabytes."""


@dataclass(frozen=True)
class Finding:
    """`what` was looked at, what was found, and the command or deed that mends it ("": nothing is missing)."""

    what: str
    found: str
    remedy: str = ""


def examine(
    source: str,
    overrides: Sequence[str] = (),
    *,
    data: Path | None = None,
    device: str | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Finding]:
    """Everything that the run needs from this machine. ConfigError where the settings themselves are wrong. `say`: as
    in `load_config`."""
    config = load_config(source, overrides, data=data, device=device, say=say)
    needed = {name: one.text for name, one in named_weights(config).items() if one.kind != "pocket"}
    absent = [value for value in needed.values() if not _is_here(value)]
    return [
        *_packages(),
        *(_weights_finding(name, value) for name, value in needed.items()),
        *_classifier(config, needed.get("erm.classifier")),
        *_launch(),
        _device(config),
        _memory(config, list(needed.values())),
        _disk(config, absent),
        *_data(config),
    ]


def _packages() -> Iterator[Finding]:
    missing = []
    for line in requires(DISTRIBUTION) or []:
        if "extra ==" in line:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(line.partition(";")[0].strip())
    if missing:
        quoted = " ".join(f'"{line}"' for line in missing)
        yield Finding("packages", f"{len(missing)} missing", f"python -m pip install {quoted}")
    else:
        yield Finding("packages", "all here")


def _published(value: str) -> Wanted | None:
    return parse_weights(value).published


def _is_here(value: str) -> bool:
    published = _published(value)
    return Path(value).expanduser().exists() if published is None else hub.cached(published) is not None


def _weights_finding(name: str, value: str) -> Finding:
    published = _published(value)
    if published is None:
        verdict = verify_folder(Path(value).expanduser())
        remedy = f"--set {name}=ROLE (see `ddb models list`), or another folder"
        return Finding(name, f"{value}: {verdict.state}", "" if verdict.state == "not pinned" else remedy)
    folder = hub.cached(published)
    if folder is None:
        gate = " (gated: ask for access first)" if published.role and published.role.gated else ""
        return Finding(name, f"{value}: not in {hub.cache_folder()}{gate}", f"ddb models pull {value}")
    verdict = verify_folder(folder)
    return Finding(name, f"{value}: {folder}", f"ddb models verify {value}" if verdict.state == "corrupt" else "")


def _classifier(config: RunConfig, weights: str | None) -> Iterator[Finding]:
    """What stands in the way of opening a trained classifier that lies on this machine."""
    if weights is not None and _published(weights) is None:
        from ddb.backends.classifiers.adopted import check_trained

        try:
            check_trained(config.erm)
        except DDBError as error:
            yield Finding("erm.classifier", str(error), "mend what the message names")


def _launch() -> Iterator[Finding]:
    try:
        started_with_others()
    except DDBError as error:
        yield Finding("launch", str(error), "unset WORLD_SIZE")


def _device(config: RunConfig) -> Finding:
    try:
        runtime = open_accelerator(config.device, config.precision)
    except DDBError as error:
        return Finding("device", str(error), "--device cpu, or a torch that is built for the GPU (pytorch.org)")
    paints = isinstance(config.inpaint, LatentDiffusionConfig) and _published(config.inpaint.weights) is not None
    slow = runtime.device.type == "cpu" and paints
    note = "; painting at full size on a CPU takes minutes an image" if slow else ""
    return Finding("device", f"{runtime.device.type}, {str(runtime.dtype).removeprefix('torch.')}{note}")


def _memory(config: RunConfig, values: Sequence[str]) -> Finding:
    needed = max((_gigabytes(value) for value in values), default=0.0) + ROOM
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGA
    found = f"{there:.0f} GB, about {needed:.0f} GB needed to load the largest model"
    return Finding("memory", found, "" if there >= needed else "smaller models, such as --set inpaint.weights=sd1.5")


def _disk(config: RunConfig, absent: Sequence[str]) -> Finding:
    asked = config.inpaint.per_class
    images = sum(asked) if isinstance(asked, tuple) else 2 * (asked or 0)
    side = config.inpaint.image_size if isinstance(config.inpaint, LatentDiffusionConfig) else USUAL_SIDE
    needed = sum(map(_gigabytes, absent)) + images * side**2 * PNG_BYTES / GIGA
    there = shutil.disk_usage(_existing(hub.cache_folder())).free / GIGA
    found = f"{there:.0f} GB free, about {needed:.1f} GB needed for weights and counterfactuals"
    return Finding("disk", found, "" if there >= needed else "make room, or set HF_HOME to a larger disk")


def _data(config: RunConfig) -> Iterator[Finding]:
    if config.data.source == "pocket":
        return
    if not config.data.root:
        yield Finding("data", "no folder given", "--data FOLDER")
    elif not Path(config.data.root).exists():
        yield Finding("data", f"{config.data.root}: not there", "--data FOLDER")
    else:
        yield Finding("data", config.data.root)


def _gigabytes(value: str) -> float:
    published = _published(value)
    if published is None:
        path = Path(value).expanduser()
        files = [path] if path.is_file() else path.rglob("*.safetensors")
        return sum(file.stat().st_size for file in files if file.exists()) / GIGA
    return published.role.gigabytes if published.role else 1.0


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return path if path.exists() else _existing(path.parent)
