"""Seeds."""

from __future__ import annotations

from ddb.learn.seeds import seed_of


def test_seeds_are_stable_and_distinct():
    assert seed_of(0, "erm") == 5014400994524309400
    parts = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 1), (0, "a1"), ("0",), (0, 1, 11), (0, 11, 1)]
    seeds = [seed_of(*part) for part in parts]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
