"""Weights in the hub's cache, and from the hub into it. HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_ENDPOINT are
honoured: huggingface_hub reads them when it is imported."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from ddb.errors import ModelError
from ddb.models.roles import Source, Wanted

log = logging.getLogger("ddb")
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def fetch(wanted: Wanted, patterns: Sequence[str]) -> Path:
    """The snapshot folder, from the first source that has it: in the cache, or downloaded (of a role the role's own
    files, else those that match `patterns`). ModelError says why no source gives it and what to do."""
    if wanted.role is not None:
        patterns = wanted.role.patterns
    reasons = []
    for source in wanted.sources:
        try:
            found = huggingface_hub.snapshot_download(
                source.repository, revision=source.revision, allow_patterns=list(patterns)
            )
        except Exception as error:  # of the hub, of the network below it, of the disk
            reasons.append(_reason(source, error) + _elsewhere(wanted, source))
            continue
        if source is not wanted.sources[0]:
            log.warning("%s comes from the mirror %s, whose revision is not pinned.", wanted.name, source.repository)
        return Path(found)
    raise ModelError(_message(wanted, reasons))


def cached(wanted: Wanted) -> Path | None:
    """The snapshot folder in the hub's cache, at the known revision where there is one; None where it is missing."""
    for source in wanted.sources:
        folder = _repository(source)
        revision = source.revision
        if revision is None and (reference := folder / "refs" / "main").is_file():
            revision = reference.read_text().strip()
        if revision is not None and (snapshot := folder / "snapshots" / revision).is_dir():
            return snapshot
    return None


def other_revisions(wanted: Wanted) -> list[Path]:
    """Snapshots of the first source in the cache at commits that are not the known one."""
    snapshots = _repository(wanted.sources[0]) / "snapshots"
    found = sorted(path for path in snapshots.glob("*") if path.is_dir())
    return [path for path in found if wanted.pinned is not None and path.name != wanted.pinned]


def offline() -> bool:
    """Whether the hub must not be contacted (HF_HUB_OFFLINE)."""
    return bool(constants.HF_HUB_OFFLINE)


def cache_folder() -> Path:
    """The folder of the hub's cache."""
    return Path(constants.HF_HUB_CACHE)


def _repository(source: Source) -> Path:
    return cache_folder() / repo_folder_name(repo_id=source.repository, repo_type="model")


def _reason(source: Source, error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return f"gated on the hub. Accept its terms at https://huggingface.co/{source.repository}, then `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no such repository, or it is private"
    if isinstance(error, RevisionNotFoundError):
        return f"the hub has no commit {source.revision} of it"
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return f"the hub's cache cannot be written ({cache_folder()}: {error.strerror}); set HF_HOME to another folder"
    why = "HF_HUB_OFFLINE forbids asking the hub" if offline() else "the hub cannot be reached"
    return f"not in the hub's cache here ({cache_folder()}), and {why}"


def _elsewhere(wanted: Wanted, source: Source) -> str:
    """The part of a message that names another commit of the first source in the cache; "" where there is none."""
    others = other_revisions(wanted) if source is wanted.sources[0] else []
    return f" (the cache holds commit {others[0].name[:12]}, wanted is {source.revision})" if others else ""


def _message(wanted: Wanted, reasons: Sequence[str]) -> str:
    first = wanted.sources[0].repository
    name = wanted.name if first == wanted.name.partition("@")[0] else f"{wanted.name} ({first})"
    tried = f" ({len(reasons) - 1} mirrors tried as well.)" if len(reasons) > 1 else ""
    remedy = f"Run `ddb models pull {wanted.name}` where there is a network, or give a local folder in its place."
    return f"{name}: {reasons[0]}.{tried}" + ("" if reasons[0].startswith("gated") else f" {remedy}")
