"""What answers without torch and the model libraries, and what a finished run leaves alone. Modules and writes are
counted, since times depend on the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import miniature
from ddb.config.load import load_config

HEAVY = {
    "torch", "torchvision", "timm", "diffusers", "transformers", "accelerate", "safetensors", "scipy", "sklearn",
    "matplotlib", "datasets",
}  # fmt: skip
CLI = """
import sys
from ddb.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""
PRINT = "import sys; print('modules:', *sorted({name.partition('.')[0] for name in sys.modules}))"
DIFFUSION = {
    "erm": {"weights": "pocket", "backbone": "pocket", "image_size": 64},
    "segment": {"backend": "clipseg", "weights": "pocket"},
    "inpaint": {"backend": "latent_diffusion", "weights": "pocket", "image_size": 64, "paste": "objects"},
}


def imported(code: str, *words: str) -> tuple[str, set[str]]:
    """What code prints in a process of its own, and the packages that are imported at its end."""
    command = [sys.executable, "-c", f"{code}\n{PRINT}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    said, _, modules = done.stdout.rpartition("modules:")
    assert done.returncode == 0, done.stderr
    return said + done.stderr, set(modules.split())


def test_the_package_imports_next_to_nothing() -> None:
    _, modules = imported("import ddb; dir(ddb)")
    assert not modules & {*HEAVY, "numpy", "pyarrow", "pydantic", "PIL", "yaml"}


def test_help_imports_no_library_but_that_of_the_command_line() -> None:
    said, modules = imported(CLI, "--help")
    assert "evaluate" in said
    assert not modules & {*HEAVY, "numpy", "pyarrow", "pydantic", "PIL"}


@pytest.mark.parametrize("verb", ["run", "dry run", "status"])
def test_a_finished_run_is_answered_without_models(verb: str, finished: Path) -> None:
    settings = [str(finished / "config.yaml"), "--out", str(finished)]
    words = {"run": ["run", *settings], "dry run": ["run", *settings, "--dry-run"], "status": ["status", str(finished)]}
    said, modules = imported(CLI, *words[verb])
    shown = {
        "run": "evaluate: 24 rows, done before",
        "dry run": "kept: erm, invert,",
        "status": "finished     24 of 24",
    }
    assert shown[verb] in said
    assert not modules & HEAVY


def test_stages_with_models_are_described_without_them(finished: Path, tmp_path: Path) -> None:
    """Identities of weights are hashes of their files; nothing is opened."""
    tree = {**yaml.safe_load((finished / "config.yaml").read_text()), **DIFFUSION}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    said, modules = imported(CLI, "run", str(tmp_path / "run.yaml"), "--out", str(finished), "--dry-run")
    assert "segment: after erm" in said
    assert not modules & HEAVY


def test_a_finished_run_writes_its_results_once(copy: Path) -> None:
    config = load_config(str(copy / "config.yaml"))
    kept = ["report.html", "metrics.json", "handed_over.json", "environment.json", "classifier", "balanced"]
    miniature.run(config, copy)  # the copy lies at another place
    before = {name: (copy / name).stat() for name in kept}
    miniature.run(config, copy)
    assert {name: (copy / name).stat() for name in kept} == before
    assert not miniature.computed(copy)


def test_the_report_follows_the_settings_and_what_was_written_over_it(copy: Path) -> None:
    config = load_config(str(copy / "config.yaml"))
    miniature.run(config, copy)
    page = copy / "report.html"
    before = page.read_text()
    miniature.run(load_config(str(copy / "config.yaml"), ["score.batch_size=5"]), copy)
    assert not miniature.computed(copy)
    assert page.read_text() != before  # the page shows the settings
    page.write_text("something else")
    miniature.run(config, copy)
    assert page.read_text() == before


def test_a_finished_run_needs_neither_device_nor_models(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(*given: object) -> None:
        raise AssertionError("looked at")

    monkeypatch.setattr("ddb.preflight.machine_faults", looked)
    miniature.run(load_config(str(copy / "config.yaml"), device="cuda"), copy)
    with pytest.raises(AssertionError, match="looked at"):
        miniature.run(load_config(str(copy / "config.yaml"), ["prune.rho_threshold=0.3", "prune.rho=value"]), copy)
