"""The built-in worlds: drawn once into a cache folder in the real data set's layout, and read by its reader."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ddb import pocket
from ddb.config import PocketConfig
from ddb.data.reading.cache_folder import user_cache
from ddb.data.sources.celeba import list_celeba
from ddb.data.sources.layout.listing import Listing
from ddb.data.sources.metashift import list_metashift
from ddb.data.sources.urbancars import list_urbancars
from ddb.data.sources.waterbirds import list_waterbirds
from ddb.pocket import datasets

_READERS = {"waterbirds": list_waterbirds, "metashift": list_metashift, "celeba": list_celeba}


def list_pocket(config: PocketConfig, cache: Path | None, attribute: str = "") -> Listing:
    """The images of a built-in world, drawn first if they are missing (about 2 ms per image). `cache` None: the user's
    cache folder. `attribute`: as in `list_urbancars`, for the world urban.
    The folder's name holds a hash of the settings and of the renderer's code."""
    folder = (cache or user_cache()) / f"pocket-{_key(config)}"
    if not folder.exists():
        datasets.write_pocket(folder, config)
    return _listed(folder, config, attribute)


def list_in_distribution(config: PocketConfig, count: int, cache: Path | None, attribute: str = "") -> Listing:
    """The same for `count` images with the training split's group shares."""
    folder = (cache or user_cache()) / f"pocket-{_key(config)}-in-distribution-{count}"
    if not folder.exists():
        datasets.write_in_distribution(folder, config, count)
    return _listed(folder, config, attribute)


def _listed(folder: Path, config: PocketConfig, attribute: str) -> Listing:
    if config.world == "urban":
        return list_urbancars(str(folder), attribute)
    return _READERS[config.world](str(folder))


def _key(config: PocketConfig) -> str:
    digest = hashlib.sha256(config.model_dump_json().encode())
    for module in sorted(Path(pocket.__path__[0]).glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:12]
