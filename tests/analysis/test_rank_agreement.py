"""Kendall's tau, its exact p, strata, regret and stability, against brute force and SciPy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from analysis.rank_agreement import (
    LEAST_IN_STRATUM,
    agreement,
    cost_strata,
    holds_from,
    kendall_tau,
    rank_p,
    stabilities,
    top_k_regret,
)

COUNTS = st.integers(2, 7)
SCORES = COUNTS.flatmap(
    lambda count: npst.arrays(np.float64, (2, count), elements=st.integers(0, 4).map(float))
)
UNTIED = COUNTS.flatmap(
    lambda count: st.tuples(*[st.permutations([float(n) for n in range(count)])] * 2)
)


def brute_tau(first, second):
    pairs = list(itertools.combinations(range(len(first)), 2))
    one = [np.sign(first[i] - first[j]) for i, j in pairs]
    other = [np.sign(second[i] - second[j]) for i, j in pairs]
    untied = sum(map(bool, one)) * sum(map(bool, other))
    if not untied:
        return math.nan
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.sqrt(untied)


def brute_p(first, second):
    observed = abs(brute_tau(first, second))
    orders = list(itertools.permutations(second))
    return np.mean([abs(brute_tau(first, each)) >= observed - 1e-9 for each in orders])


@given(SCORES)
def test_tau_is_that_of_all_pairs_and_of_scipy(scores):
    tau = kendall_tau(scores[:1], scores[1:])[0]
    assert tau == pytest.approx(brute_tau(*scores), nan_ok=True)
    assert tau == pytest.approx(stats.kendalltau(*scores).statistic, nan_ok=True)


@given(SCORES)
def test_tau_knows_order_alone_and_no_side(scores):
    tau = kendall_tau(scores[:1], scores[1:])[0]
    assert kendall_tau(scores[1:], scores[:1])[0] == pytest.approx(tau, nan_ok=True)
    assert kendall_tau(np.exp(scores[:1]), scores[1:])[0] == pytest.approx(tau, nan_ok=True)
    assert kendall_tau(-scores[:1], scores[1:])[0] == pytest.approx(-tau, nan_ok=True)


@given(UNTIED)
def test_without_ties_p_is_exact(scores):
    found = rank_p(*scores)
    assert found.is_exact
    assert found.num_permutations == math.factorial(len(scores[0]))
    assert found.p == pytest.approx(stats.kendalltau(*scores, method="exact").pvalue)
    if len(scores[0]) <= 5:
        assert found.p == pytest.approx(brute_p(*scores))


def test_p_is_exact_for_numbers_of_networks_that_nobody_enumerates():
    generator = np.random.default_rng(0)
    for count in (12, 30):
        one, other = generator.permutation(count), generator.permutation(count) + np.arange(count)
        other = other.argsort().argsort()
        expected = stats.kendalltau(one, other, method="exact").pvalue
        found = rank_p(one.tolist(), other.tolist())
        assert found.is_exact
        assert found.p == pytest.approx(expected, rel=1e-9)


@given(SCORES.filter(lambda scores: scores.shape[1] <= 5))
def test_with_ties_few_networks_are_enumerated(scores):
    found = rank_p(*scores.tolist())
    if math.isnan(brute_tau(*scores)):
        assert math.isnan(found.p)
    else:
        assert found.is_exact
        assert found.p == pytest.approx(brute_p(*scores))


def test_with_ties_many_networks_are_permuted_at_random_from_a_seed():
    one, other = [*range(11), 10], [*range(10), 9, 11]
    found = rank_p(one, other, seed=1)
    assert not found.is_exact
    assert found == rank_p(one, other, seed=1)
    # The observed order is one of those counted.
    assert found.p == pytest.approx(1 / found.num_permutations)


def test_p_is_uniform_when_nothing_agrees():
    generator = np.random.default_rng(3)
    values = [
        rank_p(generator.random(9).tolist(), generator.random(9).tolist()).p for _ in range(600)
    ]
    assert np.mean(np.array(values) <= 0.05) <= 0.07
    assert 0.4 < np.mean(values) < 0.65


def test_the_interval_holds_the_true_tau_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    correlation, inside = 0.7, []
    true = 2 / math.pi * math.asin(correlation)
    for seed in range(100):
        short = generator.standard_normal(25)
        noise = generator.standard_normal(25)
        long = correlation * short + math.sqrt(1 - correlation**2) * noise
        tau = agreement(short, long, seed=seed).tau
        inside.append(tau.low <= true <= tau.high)
    assert 0.87 <= np.mean(inside) <= 1.0


def test_noise_of_images_widens_the_interval():
    generator = np.random.default_rng(0)
    scores = np.linspace(0.3, 0.6, 12)
    bare = agreement(scores, scores)
    assert bare.interval_over == "networks"
    assert (bare.tau.value, bare.tau.low, bare.tau.high) == (1, 1, 1)
    resampled = tuple(scores + 0.03 * generator.standard_normal((500, 12)) for _ in range(2))
    noisy = agreement(scores, scores, resampled=resampled)
    assert noisy.interval_over == "networks and images"
    assert noisy.tau.value == 1
    assert noisy.tau.low < 0.9
    assert noisy.tau.num_resamples == 500


def test_rankings_of_other_networks_are_refused():
    with pytest.raises(ValueError, match="the same networks"):
        agreement(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="at least one"):
        agreement(np.zeros(0), np.zeros(0))


def test_a_schedule_that_tells_nothing_apart_has_no_tau():
    found = agreement(np.zeros(5), np.arange(5.0))
    assert math.isnan(found.tau.value)
    assert math.isnan(found.tau.low)
    assert math.isnan(found.p.p)


@given(SCORES, st.data())
def test_regret_is_the_worst_that_ties_allow(scores, data):
    short, long = scores
    k = data.draw(st.integers(1, len(short)))
    worst = 0.0
    for order in itertools.permutations(range(len(short))):
        if all(short[a] >= short[b] for a, b in itertools.pairwise(order)):
            worst = max(worst, long.max() - max(long[i] for i in order[:k]))
    assert top_k_regret(short[None], long[None], k)[0] == worst


@given(SCORES)
def test_regret_falls_with_k_to_nothing(scores):
    short, long = scores[:1], scores[1:]
    lost = [top_k_regret(short, long, k)[0] for k in range(1, scores.shape[1] + 1)]
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] == 0
    assert top_k_regret(long, long, 1)[0] == 0


@given(st.lists(st.integers(0, 100), max_size=40))
def test_strata_hold_every_network_once_by_cost(costs):
    strata = cost_strata(costs)
    if not strata:
        assert len(costs) < 2 * LEAST_IN_STRATUM
        return
    assert sorted(index for members in strata for index in members) == list(range(len(costs)))
    sizes = [len(members) for members in strata]
    assert min(sizes) >= LEAST_IN_STRATUM
    assert max(sizes) - min(sizes) <= 1
    ordered = [costs[index] for members in strata for index in members]
    assert ordered == sorted(costs)


def test_a_ranking_holds_from_where_it_stays():
    final = np.arange(8.0)
    wrong, nearly = final[::-1], final.copy()
    nearly[[0, 1]] = nearly[[1, 0]]
    steps = (10, 20, 30, 40)

    def from_step(*rows):
        return holds_from(stabilities(steps, np.array([*rows, final])))

    assert from_step(wrong, nearly, final) == 20
    assert from_step(nearly, wrong, final) == 30
    assert from_step(final, final, wrong) is None
    found = stabilities(steps, np.array([wrong, nearly, final, final]))
    assert [each.tau.value for each in found] == pytest.approx([-1, 1 - 2 / 28, 1, 1])
    assert holds_from(stabilities((5,), final[None])) is None
