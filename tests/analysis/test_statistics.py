"""Intervals and fronts agree with what can be worked out by other means."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import statistics
from analysis.pareto import pareto_mask
from analysis.statistics import bootstrap, paired_bootstrap


class Mean:
    """A metric whose bootstrap is known in closed form: the mean over images."""

    def __init__(self, values):
        self.values = np.asarray(values, dtype=np.float64)
        self.num_images = len(values)

    def score(self, image_weights, metric=""):
        with np.errstate(invalid="ignore"):
            return image_weights @ self.values / image_weights.sum(axis=1)


class Rare(Mean):
    """Is defined only where the first image was drawn."""

    def score(self, image_weights, metric=""):
        return np.where(image_weights[:, 0] > 0, super().score(image_weights), np.nan)


VALUES = np.random.default_rng(0).normal(3.0, 2.0, 200)


def test_the_interval_of_a_mean_is_the_normal_one():
    found = bootstrap(Mean(VALUES), seed=0, num_resamples=4000)
    error = VALUES.std() / math.sqrt(len(VALUES))
    assert found.value == pytest.approx(VALUES.mean())
    assert found.low == pytest.approx(VALUES.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(VALUES.mean() + 1.96 * error, abs=0.1 * error)


def test_the_same_seed_draws_the_same_images_however_many_at_once(monkeypatch):
    at_once = bootstrap(Mean(VALUES), seed=5, num_resamples=100)
    monkeypatch.setattr(statistics, "_MAX_WEIGHTS", 7 * len(VALUES))
    assert bootstrap(Mean(VALUES), seed=5, num_resamples=100) == at_once
    assert bootstrap(Mean(VALUES), seed=6, num_resamples=100) != at_once


def test_pairing_tells_apart_what_single_intervals_cannot():
    better = VALUES + np.random.default_rng(1).normal(0.1, 0.1, 200)
    first = bootstrap(Mean(better), seed=0)
    second = bootstrap(Mean(VALUES), seed=0)
    assert second.low < first.low < second.high
    gap = better - VALUES
    error = gap.std() / math.sqrt(len(gap))
    found = paired_bootstrap(Mean(better), Mean(VALUES), seed=0, num_resamples=4000)
    assert found.value == pytest.approx(gap.mean())
    assert 0 < found.low == pytest.approx(gap.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(gap.mean() + 1.96 * error, abs=0.1 * error)


def test_a_network_does_not_differ_from_itself():
    found = paired_bootstrap(Mean(VALUES), Mean(VALUES), seed=0)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_resamples_without_a_score_are_left_out():
    found = bootstrap(Rare([1.0, 5.0, 5.0]), seed=0)
    assert 1.0 <= found.low < found.high < 5.0
    assert found.num_resamples == 1000


def test_one_image_has_an_interval_of_one_point():
    found = bootstrap(Mean([0.25]), seed=0)
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf, -math.inf])


@st.composite
def tables(draw):
    width = draw(st.integers(1, 3))
    row = st.lists(NUMBERS, min_size=width, max_size=width)
    maximise = draw(st.lists(st.booleans(), min_size=width, max_size=width))
    return np.array(draw(st.lists(row, min_size=1, max_size=12))), maximise


def _beats(first, second, maximise):
    """By the definition, one number at a time."""
    if any(math.isnan(value) for value in first):
        return False
    no_worse = [
        (a >= b if up else a <= b) for a, b, up in zip(first, second, maximise, strict=True)
    ]
    return all(no_worse) and list(first) != list(second)


@given(tables())
def test_the_front_is_what_the_definition_says(table):
    values, maximise = table
    expected = [
        not any(math.isnan(value) for value in row)
        and not any(_beats(other, row, maximise) for other in values)
        for row in values
    ]
    assert pareto_mask(values, maximise).tolist() == expected


def test_equal_networks_are_on_the_front_together_and_nan_never():
    values = np.array([[0.5, 1.0], [0.5, 1.0], [0.5, 2.0], [math.nan, 0.0], [0.9, 3.0]])
    assert pareto_mask(values, [True, False]).tolist() == [True, True, False, False, True]
