"""Our side: the rival with the row's hyperparameters."""

from __future__ import annotations

import shutil

from benchmarks.parity.ground import Ground, Row

from ddb.rivals import RIVALS, fit_rival


def run(row: Row, ground: Ground, seed: int) -> float:
    """Worst-group accuracy on the test images."""
    problem = ground.problem(row, seed)
    fitted = fit_rival(RIVALS[row.rival], problem, row.settings)
    shutil.rmtree(problem.folder, ignore_errors=True)
    return ground.worst_group(fitted.classifier)
