"""The built-in world: drawn once into a cache folder in Waterbirds' layout, then read as Waterbirds is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ddb.config import PocketConfig
from ddb.data.cache_folder import user_cache
from ddb.pocket import birds, datasets, places, world


def pocket_folder(config: PocketConfig, cache: Path | None) -> Path:
    """The folder with the drawn images, drawn now if it is not there (about 2 ms an image). `cache` None: the user's
    cache folder. The folder's name holds a hash of the settings and of the renderer's code."""
    folder = (cache or user_cache()) / f"pocket-{_key(config)}"
    return folder if folder.exists() else datasets.write_pocket_waterbirds(folder, config)


def in_distribution_folder(config: PocketConfig, count: int, cache: Path | None) -> Path:
    """The same for `count` images with the training split's group shares."""
    folder = (cache or user_cache()) / f"pocket-{_key(config)}-in-distribution-{count}"
    return folder if folder.exists() else datasets.write_in_distribution(folder, config, count)


def _key(config: PocketConfig) -> str:
    digest = hashlib.sha256(config.model_dump_json().encode())
    for module in (birds, places, world, datasets):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:12]
