"""Several image arrays as one."""

from __future__ import annotations

import numpy as np

from ddb.learn.training.joined import joined


def test_rows_are_those_of_the_concatenation():
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for n in (5, 1, 3)]
    whole, ours = np.concatenate(parts), joined(*parts)
    assert (len(ours), ours.shape) == (9, (9, 4, 4, 3))
    rows = np.array([8, 0, 5, 4, 6, 0])
    np.testing.assert_array_equal(ours[rows], whole[rows])
    assert ours[rows].dtype == np.uint8
    assert ours[np.array([], np.int64)].shape == (0, 4, 4, 3)
