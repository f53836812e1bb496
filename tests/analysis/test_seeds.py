"""Over training runs: intervals and numbers of seeds that are what they say, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.seeds import compare_over_seeds, seeds_needed, summarise_seeds
from analysis.telling_apart import adjust, groups


def test_one_run_says_nothing_of_other_runs():
    found = compare_over_seeds([0.4], [0.3, 0.31])
    assert found.difference == pytest.approx(0.095)
    assert math.isnan(found.p)
    assert not found.differs
    assert found.num_more_seeds is not None
    assert compare_over_seeds([0.4], [0.3]).num_more_seeds is None


def test_far_apart_needs_no_more_and_equal_never_suffices():
    far = compare_over_seeds([0.40, 0.41, 0.42], [0.30, 0.31, 0.32])
    assert far.differs
    assert far.num_more_seeds == 0
    assert far.difference == pytest.approx(0.1)
    assert far.low < far.difference < far.high
    same = compare_over_seeds([0.30, 0.31], [0.31, 0.30])
    assert not same.differs
    assert same.num_more_seeds is None


def test_runs_without_spread():
    assert compare_over_seeds([0.5, 0.5], [0.5, 0.5]).p == 1
    assert compare_over_seeds([0.5, 0.5], [0.4, 0.4]).p == 0
    assert seeds_needed(0.1, 0.0) == 2
    assert seeds_needed(0.0, 0.1) is None
    assert seeds_needed(0.001, 0.1) is None
    with pytest.raises(ValueError, match="needs a score"):
        summarise_seeds([])


@pytest.mark.parametrize(("difference", "sd"), [(0.03, 0.01), (0.02, 0.01), (0.01, 0.01)])
def test_the_number_of_seeds_gives_the_power_and_one_less_does_not(difference, sd):
    generator = np.random.default_rng(0)
    needed = seeds_needed(difference, sd)
    assert needed is not None

    def rate(count):
        pairs = generator.normal(0, sd, (1500, 2, count))
        pairs[:, 0] += difference
        return np.mean([compare_over_seeds(a.tolist(), b.tolist()).differs for a, b in pairs])

    assert rate(needed) > 0.77
    assert rate(needed - 1) < 0.83


def test_equal_architectures_differ_at_the_nominal_rate():
    pairs = np.random.default_rng(1).normal(0.3, 0.02, (1500, 2, 4))
    rate = np.mean([compare_over_seeds(a.tolist(), b.tolist()).differs for a, b in pairs])
    assert rate <= 0.065


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_adjusted_p_values_only_grow_and_keep_their_order(values):
    adjusted = adjust(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    assert adjusted[int(np.argmin(values))] == pytest.approx(min(1, len(values) * min(values)))
    for i, j in zip(np.argsort(values)[:-1], np.argsort(values)[1:], strict=True):
        assert adjusted[i] <= adjusted[j]


@given(st.integers(1, 7), st.data())
def test_two_networks_share_a_group_unless_they_differ(count, data):
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    differing = set(data.draw(st.lists(st.sampled_from(pairs)))) if pairs else set()
    found = groups(count, lambda i, j: 0.01 if (i, j) in differing else 0.5)
    for i, j in pairs:
        assert any({i, j} <= set(group) for group in found) == ((i, j) not in differing)
    assert {i for group in found for i in group} == set(range(count))
    assert not any(set(a) < set(b) for a in found for b in found)
