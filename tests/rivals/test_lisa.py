"""LISA's pairs, its mixing on fixed rows, and the groups that it draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from ddb.errors import ConfigError
from ddb.learn.training.batches import mixed
from ddb.rivals import RIVALS, fit_rival
from ddb.rivals.lisa import LISASettings, cutmix_pair, group_pairs, merged, mixup_pair, random_box, selective

RNG = np.random.default_rng
GROUPS = np.repeat(np.arange(4), [60, 12, 8, 40])
POOLS = [np.flatnonzero(group == GROUPS) for group in range(4)]


def steps(settings, seed=0, batch_size=16, pools=POOLS):
    return selective(pools, (2, 2), batch_size, 8, settings)(torch.Generator().manual_seed(seed), None)


def test_two_by_two_groups_have_the_codes_pairs():
    """train.py, mix_forward: (g0, g1), (g2, g3) within a label; (g0, g2), (g1, g3) within a domain."""
    assert group_pairs(2, 2, True, RNG(0)) == [(0, 1), (2, 3)]
    assert group_pairs(2, 2, False, RNG(0)) == [(0, 2), (1, 3)]


@pytest.mark.parametrize("intra_label", [True, False])
def test_pairs_share_what_is_kept_and_differ_in_the_other(intra_label):
    seen = {pair for seed in range(30) for pair in group_pairs(3, 4, intra_label, RNG(seed))}
    for a, b in seen:
        same_label, same_attribute = a // 4 == b // 4, a % 4 == b % 4
        assert (same_label, same_attribute) == ((True, False) if intra_label else (False, True))
    assert len(seen) == (3 * 6 if intra_label else 4 * 3)  # every pair has its turn


def test_mixup_pairs_rows_by_position():
    batch = mixup_pair(np.array([5, 9, 2]), np.array([7, 1, 8]), 2.0, RNG(0))
    assert (batch.rows.tolist(), batch.partners.tolist()) == ([5, 9, 2], [7, 1, 8])
    assert batch.share == pytest.approx(RNG(0).beta(2.0, 2.0, 3))  # a share for each pair
    assert batch.boxes is None


def test_cutmix_pastes_one_box_both_ways_and_labels_follow_the_area():
    batch = cutmix_pair(np.array([5, 9]), np.array([7, 1]), 1.0, 8, RNG(3))
    assert (batch.rows.tolist(), batch.partners.tolist()) == ([5, 9, 7, 1], [7, 1, 5, 9])
    assert len({tuple(box) for box in batch.boxes}) == 1
    zeros, ones = torch.zeros(4, 3, 8, 8), torch.ones(4, 3, 8, 8)
    assert mixed(zeros, ones, batch).mean((1, 2, 3)).tolist() == pytest.approx((1 - batch.share).tolist())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
def test_a_box_is_the_codes(share):
    """rand_bbox: a square of side int(S sqrt(1 - share)) around a random pixel, cut at the border."""
    for seed in range(20):
        y, x = RNG(seed).integers(0, 224, 2)
        cut = int(224 * np.sqrt(1 - share))
        expected = [max(y - cut // 2, 0), max(x - cut // 2, 0), min(y + cut // 2, 224), min(x + cut // 2, 224)]
        assert random_box(share, 224, RNG(seed)).tolist() == expected


def test_merging_keeps_the_order():
    one, two = (cutmix_pair(np.array([a]), np.array([b]), 1.0, 8, RNG(a)) for a, b in ((1, 2), (3, 4)))
    both = merged([one, two])
    assert (both.rows.tolist(), both.partners.tolist()) == ([1, 2, 3, 4], [2, 1, 4, 3])
    assert np.array_equal(both.boxes, np.concatenate([one.boxes, two.boxes]))


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_a_step_has_as_many_mixed_images_as_erms_batch_from_all_groups_alike(mix):
    for batch in (made := steps(LISASettings(mix=mix))):
        assert len(batch.rows) == 16
        used = np.bincount(GROUPS[np.concatenate([batch.rows, batch.partners])], minlength=4)
        assert used.tolist() == [8, 8, 8, 8]
    assert len(made) == 120 // 16


@pytest.mark.parametrize("p_sel", [0.0, 0.3, 1.0])
def test_p_sel_is_the_share_of_intra_label_steps(p_sel):
    kinds = []
    for seed in range(40):
        for batch in steps(LISASettings(p_sel=p_sel), seed):
            same_label = GROUPS[batch.rows] // 2 == GROUPS[batch.partners] // 2
            assert same_label.all() or not same_label.any()
            kinds.append(same_label.all())
    assert np.mean(kinds) == pytest.approx(p_sel, abs=4 * np.sqrt(p_sel * (1 - p_sel) / len(kinds)))


def test_mixup_shares_follow_beta_2_2():
    shares = np.concatenate([batch.share for seed in range(5) for batch in steps(LISASettings(), seed)])
    assert stats.kstest(shares, stats.beta(2, 2).cdf).pvalue > 0.01


def test_label_pairs_mix_halves_of_one_label():
    labels = GROUPS // 2
    pools = [np.flatnonzero(labels == label) for label in range(2)]
    for batch in steps(LISASettings(pairs="labels"), pools=pools):
        assert len(batch.rows) == 16
        assert np.array_equal(labels[batch.rows], labels[batch.partners])
        assert np.bincount(labels[batch.rows]).tolist() == [8, 8]


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_reaches_the_minority_that_erm_does_not(world, mix):
    before = world.accuracies(world.problem.erm())
    after = world.accuracies(fit_rival(RIVALS["lisa"], world.problem, {"mix": mix}).classifier)
    assert before.min() < 0.5 < 0.9 < after.min()


@pytest.mark.parametrize(
    ("sizes", "shape", "values", "words"),
    [
        ((8, 8), (2, 1), {"p_sel": 1.0}, "1 attribute value, and pairs of one label need two"),
        ((8, 8), (2, 1), {"p_sel": 0.1}, "p_sel to 0"),
        ((8, 8), (1, 2), {"p_sel": 0.5}, "pairs of one attribute need two labels; set p_sel to 1"),
        ((8, 0, 8, 8), (2, 2), {}, "group 1 has no training image"),
        ((8, 0), (2, 1), {"pairs": "labels"}, "label 1 has no training image"),
    ],
)
def test_what_cannot_be_paired_is_said(sizes, shape, values, words):
    rows = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    with pytest.raises(ConfigError, match=words):
        selective(rows, shape, 4, 32, LISASettings(**values))


def test_one_attribute_is_enough_for_pairs_of_labels_or_of_that_attribute():
    pools = [np.arange(8), np.arange(8, 16)]
    for values in ({"p_sel": 0.0}, {"pairs": "labels"}):
        steps = selective(pools, (2, 1), 4, 32, LISASettings(**values))(torch.Generator().manual_seed(0), None)
        assert len(steps) == 4
