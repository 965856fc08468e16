"""The findings of `ddb doctor` on a machine that the test sets up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from ddb import doctor
from ddb.cli import app as cli
from ddb.models.roles import ROLES
from fake_hub import fill_cache, small_weights

FILES = {"config.json": b"{}", "model.safetensors": small_weights()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def findings(*overrides: str, data: Path | None = None) -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine("photos", overrides, data=data, device="cpu")}


def test_each_missing_model_comes_with_its_command(cache: Path, tmp_path: Path) -> None:
    found = findings("erm.weights=resnet50", "inpaint.weights=sd2-inpainting", "segment.weights=clipseg", data=tmp_path)
    for name, role in (("erm", "resnet50"), ("segment", "clipseg"), ("inpaint", "sd2-inpainting")):
        assert found[f"{name}.weights"].remedy == f"ddb models pull {role}"
    fill_cache(cache, "timm/resnet50.tv_in1k", ROLES["resnet50"].sources[0].revision or "", FILES)
    found = findings("erm.weights=resnet50", "inpaint.weights=sd2-inpainting", "segment.weights=clipseg", data=tmp_path)
    assert not found["erm.weights"].remedy
    assert found["inpaint.weights"].remedy


def test_local_folders_do_for_every_role(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(FILES["model.safetensors"])
    sections = ("erm", "segment", "inpaint")
    found = findings(*(f"{section}.weights={tmp_path}" for section in sections), data=tmp_path)
    assert not any(finding.remedy for finding in found.values())
    (tmp_path / "model.safetensors").write_bytes(FILES["model.safetensors"][:-3])
    found = findings(*(f"{section}.weights={tmp_path}" for section in sections), data=tmp_path)
    assert "corrupt" in found["segment.weights"].found
    assert found["segment.weights"].remedy


def test_what_else_can_be_missing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings()["data"].remedy == "--data FOLDER"
    assert not findings(data=tmp_path)["data"].remedy
    monkeypatch.setattr(doctor, "requires", lambda _: ["numpy>=2", "no-such-package>=1.5", "gone; extra == 'dev'"])
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: doctor.shutil._ntuple_diskusage(1, 1, 10**9))
    monkeypatch.setattr(doctor.os, "sysconf", lambda _: 10**4)
    found = findings("inpaint.weights=sd2-inpainting")
    assert found["packages"].remedy == 'python -m pip install "no-such-package>=1.5"'
    assert "1 GB free" in found["disk"].found
    assert found["disk"].remedy
    assert found["memory"].remedy


def test_a_device_that_is_absent(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = {finding.what: finding for finding in doctor.examine("photos", device="cuda")}
    assert '"cuda" was asked for' in found["device"].found
    assert "--device cpu" in found["device"].remedy


@pytest.mark.parametrize(("preset", "code"), [("pocket-waterbirds", 0), ("waterbirds", 1)])
def test_the_exit_code_says_whether_a_run_can_start(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], preset: str, code: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["ddb", "doctor", preset, "--device", "cpu"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert int(caught.value.code or 0) == code
    assert ("-> ddb models pull" in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (("segment.backend=grounded_sam",), {"segment.detector", "segment.mask_model", "inpaint.weights"}),
        (("segment.backend=sam3", "inpaint.backend=copy_paste"), {"segment.weights"}),
        (("segment.backend=given", "segment.masks=masks", "inpaint.backend=copy_paste"), set()),
        (("erm.weights=none", "segment.weights=pocket", "inpaint.weights=pocket"), set()),
    ],
    ids=["two models", "sam3", "given", "nothing published"],
)
def test_each_backend_is_asked_for_its_own_models(cache: Path, settings: tuple[str, ...], names: set[str]) -> None:
    found = findings(*settings)
    asked = {name for name in found if "." in name}
    assert asked == names | ({"erm.weights"} if "erm.weights=none" not in settings else set())
    assert all(found[name].remedy.startswith("ddb models pull ") for name in asked)
    assert found["disk"].found


def test_what_a_preset_lost_is_said(cache: Path) -> None:
    said: list[str] = []
    doctor.examine("photos", ["inpaint.backend=copy_paste"], device="cpu", say=said.append)
    assert [line.partition(":")[0] for line in said] == ["inpaint.backend=copy_paste"]


def test_what_a_launch_left_over_is_a_finding(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    for device in ("auto", "cpu"):
        found = {finding.what: finding for finding in doctor.examine("photos", device=device)}
        assert "WORLD_SIZE=2" in found["launch"].found
        assert found["launch"].remedy == "unset WORLD_SIZE"
