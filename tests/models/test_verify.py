"""Verdicts on caches that the test makes and damages."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import constants

from ddb.models.roles import ROLES, Role, Source, Wanted, wanted
from ddb.models.verify import header_fault, verify, verify_folder
from fake_hub import fill_cache, small_weights

RIGHT, OTHER = "a" * 40, "b" * 40
WEIGHTS = small_weights()
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
PINNED = Wanted("some", (Source("owner/some", RIGHT), Source("mirror/some")))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_the_known_commit_with_whole_files_is_verified(cache: Path) -> None:
    folder = fill_cache(cache, "owner/some", RIGHT, FILES)
    assert (verify(PINNED).state, verify(PINNED).folder) == ("verified", folder)


def test_another_commit_is_said(cache: Path) -> None:
    fill_cache(cache, "owner/some", OTHER, FILES)
    verdict = verify(PINNED)
    assert verdict.state == "wrong revision"
    assert f"holds commit {OTHER}, wanted is {RIGHT}" in verdict.detail


def test_nothing_there_is_said(cache: Path) -> None:
    assert verify(PINNED).state == "missing"


def test_a_commit_that_nobody_knows_is_not_verified(cache: Path) -> None:
    fill_cache(cache, "owner/some", OTHER, FILES)
    assert verify(Wanted("owner/some", (Source("owner/some"),))).state == "not pinned"
    fill_cache(cache, "mirror/some", OTHER, FILES)
    assert verify(PINNED).state == "not pinned"


@pytest.mark.parametrize("name", list(FILES))
def test_a_changed_byte_is_found(cache: Path, name: str) -> None:
    path = fill_cache(cache, "owner/some", RIGHT, FILES) / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.resolve().write_bytes(data)
    verdict = verify(PINNED)
    assert (verdict.state, name in verdict.detail) == ("corrupt", True)


def test_a_file_cut_short_is_found_without_any_hash(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS[:-4])
    assert verify_folder(tmp_path).state == "corrupt"
    assert "its header says" in verify_folder(tmp_path / "model.safetensors").detail
    assert verify_folder(tmp_path / "gone").state == "missing"


@pytest.mark.parametrize("data", [b"", b"short", b"\xff" * 64, (20).to_bytes(8, "little") + b"x" * 30])
def test_what_is_no_safetensors_file_is_said(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    assert header_fault(path)
    path.write_bytes(WEIGHTS)
    assert not header_fault(path)


def test_known_hashes_vouch_for_a_mirror_and_convict_a_forgery(cache: Path) -> None:
    role = Role("some", PINNED.sources, (), "", 0, {"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()})
    asked = Wanted("some", role.sources, role)
    folder = fill_cache(cache, "mirror/some", OTHER, FILES)
    assert verify(asked).state == "verified"
    forged = small_weights(1)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(forged)
    assert verify(asked).state == "corrupt"


def test_a_link_to_nothing_is_corrupt(cache: Path) -> None:
    (fill_cache(cache, "owner/some", RIGHT, FILES) / "model.safetensors").resolve().unlink()
    assert "points to a file that is gone" in verify(PINNED).detail


def test_roles_are_well_formed() -> None:
    for role in ROLES.values():
        for source in role.sources:
            assert source.repository.count("/") == 1
            assert source.revision is None or (len(source.revision) == 40 and int(source.revision, 16))
        assert all(len(digest) == 64 and int(digest, 16) for digest in role.hashes.values())
        assert all(pattern.endswith((".json", ".txt", ".safetensors", "/*")) for pattern in role.patterns)
    assert ROLES["sam3"].gated


def test_what_names_published_weights() -> None:
    first = ROLES["sd2-base"].sources[0]
    assert wanted("sd2-base") == Wanted("sd2-base", ROLES["sd2-base"].sources, ROLES["sd2-base"])
    assert wanted(first.repository) == Wanted(first.repository, (first,), ROLES["sd2-base"])
    assert wanted(f"owner/name@{RIGHT}") == Wanted(f"owner/name@{RIGHT}", (Source("owner/name", RIGHT),))
    assert wanted("owner/name@main") is wanted("name") is wanted("./owner/name") is wanted("/tmp") is None
