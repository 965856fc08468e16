"""A fit shared by two processes against the same fit in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import shared_fits
from launching import launch


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    done = launch(shared_fits.__file__, str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", list(shared_fits.CASES))
def test_two_processes_end_where_one_does(shared: Path, tmp_path: Path, case: str) -> None:
    """20 steps with augmentation, at the same whole batch: weights, running statistics and losses."""
    alone = shared_fits.fitted(case, tmp_path)
    first, second = (load_file(shared / f"{case}-{number}.safetensors") for number in (0, 1))
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, atol=1e-4, rtol=1e-4)
        assert torch.equal(first[name], second[name]), name
