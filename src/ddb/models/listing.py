"""The output of `ddb models`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ddb.errors import ModelError
from ddb.models import hub
from ddb.models.roles import ROLES, TRANSFORMERS, Wanted, wanted
from ddb.models.verify import Verdict, verify, verify_folder


def listed() -> Iterator[str]:
    """Every role: its repository and commit, licence, size, mirrors."""
    for role in ROLES.values():
        first, *mirrors = role.sources
        pin = f"@{first.revision}" if first.revision else ", commit not known"
        gate = ", gated" if role.gated else ""
        yield f"{role.name:<20} {role.gigabytes:>5.1f} GB  {first.repository}{pin}"
        yield f"{'':<30}{role.licence}{gate}"
        if mirrors:
            yield f"{'':<30}mirrors: {', '.join(source.repository for source in mirrors)}"


def pulled(name: str) -> Iterator[str]:
    """Download weights. Yields lines: size and licence before the download, then the folder and the verdict. ModelError
    where no source has them, or where they are damaged."""
    asked = _asked(name)
    if asked.role is not None:
        yield f"{name}: {asked.role.gigabytes:g} GB, licence: {asked.role.licence}"
    folder = hub.fetch(asked, TRANSFORMERS)
    yield f"  {folder}"
    verdict = verify(asked)
    if verdict.state == "corrupt":
        raise ModelError(f"{name}: {verdict.detail}. Delete {folder} and pull again.")
    yield f"  {in_words(verdict)}"


def weights_folder(name: str) -> Path:
    """The folder that holds the weights. ModelError where they are not here."""
    folder = hub.cached(_asked(name))
    if folder is None:
        raise ModelError(f"{name}: not in {hub.cache_folder()}. Get it with `ddb models pull {name}`.")
    return folder


def verdicts(names: Sequence[str]) -> list[tuple[str, Verdict]]:
    """Each named role, hub id, folder or file; without names, every role that is in the cache."""
    if not names:
        found = [(name, verify(_asked(name))) for name in ROLES]
        return [(name, verdict) for name, verdict in found if verdict.state != "missing"]
    return [(name, verify_folder(Path(name)) if Path(name).exists() else verify(_asked(name))) for name in names]


def in_words(verdict: Verdict) -> str:
    return verdict.state + (f": {verdict.detail}" if verdict.detail else "")


def _asked(name: str) -> Wanted:
    found = wanted(name)
    if found is None:
        raise ModelError(f"{name!r} is no role (see `ddb models list`), no hub id owner/name and no local path.")
    return found
