"""Where weights lie: "pocket", a local folder, or a hub id; and what names them in fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from ddb.errors import ModelError


def is_local(weights: str) -> bool:
    """True for a path; hub ids are "owner/name" and name no folder here."""
    return Path(weights).expanduser().exists() or weights.startswith((".", "/", "~")) or weights.count("/") != 1


def find_folder(weights: str, pocket: Callable[[], Path], patterns: Sequence[str]) -> Path:
    """The folder that holds the weights: `pocket()` for "pocket", the path itself, or the hub's cache (downloaded if
    the hub can be reached; files that match `patterns` alone). ModelError if they are missing or gated."""
    if weights == "pocket":
        return pocket()
    if is_local(weights):
        folder = Path(weights).expanduser()
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder. `weights` is a local folder, a hub id owner/name, or pocket.")
        return folder
    return _from_hub(weights, patterns)


def identity(weights: str, pocket: Callable[[], Path]) -> str:
    """Name and content hash of local weights; the id alone of hub weights (asked offline, before any download).

    ModelError if local weights are missing."""
    if weights != "pocket" and not is_local(weights):
        return weights
    folder = find_folder(weights, pocket, ())
    return f"{'pocket' if weights == 'pocket' else folder.name}@{_hash(folder)}"


def found_identity(weights: str, pocket: Callable[[], Path], folder: Path) -> str:
    """`identity`, and for hub weights the commit as well: the hub's cache names its folders so."""
    name = identity(weights, pocket)
    return f"{name}@{folder.name[:12]}" if name == weights else name


@lru_cache(maxsize=16)
def _hash(folder: Path) -> str:
    """SHA-256 over names and contents of the configuration, tokenizer and weight files, 12 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors", ".txt")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _from_hub(weights: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(weights, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        raise ModelError(f"{weights}: gated on the hub. Accept its terms there, then `hf auth login`.") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"{weights}: the hub has no such repository (or it is private). Check `weights`.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        remedy = "Download it where there is a network and give its folder as `weights`."
        raise ModelError(f"{weights}: not in the hub's cache here, and the hub cannot be reached. {remedy}") from error
