"""Paired tests keep the rate of errors that they state, for means and for other metrics."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.permutation import LEVEL, compare_on_images


class Mean:
    """A metric that is a mean over images, with results for each of them."""

    def __init__(self, values, names=None):
        self.values = np.asarray(values, dtype=np.float64)
        self.image_names = tuple(names or map(str, range(len(self.values))))
        self.num_images = len(self.values)

    def score(self, image_weights, metric=""):
        del metric
        with np.errstate(invalid="ignore"):
            return image_weights @ self.values / image_weights.sum(axis=1)

    def beside(self, other):
        values = np.concatenate([self.values, other.values])
        return Mean(values, (*self.image_names, *other.image_names))


class Ratio(Mean):
    """A metric that is no mean over images: a ratio of sums, as intersection over union is."""

    def __init__(self, hits, sizes, names=None):
        super().__init__(hits, names)
        self.sizes = np.asarray(sizes, dtype=np.float64)

    def score(self, image_weights, metric=""):
        del metric
        with np.errstate(invalid="ignore"):
            return (image_weights @ self.values) / (image_weights @ self.sizes)

    def beside(self, other):
        return Ratio(
            np.concatenate([self.values, other.values]),
            np.concatenate([self.sizes, other.sizes]),
            (*self.image_names, *other.image_names),
        )


def _swapped(generator, first, second):
    """Two networks made equally good: each image's results go to a side by the toss of a coin."""
    swap = generator.integers(2, size=len(first)).astype(bool)
    return np.where(swap, second, first), np.where(swap, first, second)


def _pair(generator, num_images, effect=0.0):
    difficulty = generator.normal(0.5, 0.2, num_images)
    first, second = (difficulty + generator.normal(0, 0.05, num_images) for _ in range(2))
    first, second = _swapped(generator, first, second)
    return first + effect, second


def test_all_swaps_of_few_images_are_tried():
    first, second = [0.9, 0.8, 0.7, 0.9], [0.5, 0.9, 0.4, 0.6]
    gaps = np.subtract(first, second)
    signs = np.array(list(itertools.product((1, -1), repeat=4)))
    expected = (np.abs(signs @ gaps) >= abs(gaps.sum()) - 1e-12).mean()
    found = compare_on_images(Mean(first), Mean(second))
    assert found.is_exact
    assert found.num_permutations == 8
    assert found.p == pytest.approx(expected)
    assert found.difference.value == pytest.approx(gaps.mean())


def test_random_swaps_come_near_the_exact_p():
    generator = np.random.default_rng(3)
    pair = [Mean(values) for values in _pair(generator, 12, effect=0.02)]
    exact = compare_on_images(*pair)
    drawn = compare_on_images(*pair, num_permutations=2000)
    assert exact.is_exact
    assert not drawn.is_exact
    assert drawn.num_permutations == 2000
    assert drawn.p == pytest.approx(exact.p, abs=0.04)
    assert drawn.critical == pytest.approx(exact.critical, rel=0.15)


def test_a_network_is_not_told_apart_from_itself():
    values = np.random.default_rng(0).normal(size=30)
    found = compare_on_images(Mean(values), Mean(values), num_permutations=200)
    assert (found.p, found.difference.value, found.standard_error) == (1.0, 0.0, 0.0)
    assert not found.differs
    assert math.isinf(found.critical)


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="same images"):
        compare_on_images(Mean([1, 2], ["a", "b"]), Mean([1, 2], ["b", "a"]))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.data())
def test_p_and_the_critical_difference_agree(first, data):
    second = data.draw(st.lists(st.integers(0, 3), min_size=len(first), max_size=len(first)))
    found = compare_on_images(Mean(first), Mean(second), num_resamples=10)
    assert found.is_exact
    assert 0 < found.p <= 1
    assert found.differs == (abs(found.difference.value) >= found.critical - 1e-9)
    back = compare_on_images(Mean(second), Mean(first), num_resamples=10)
    assert back.p == found.p
    assert back.difference.value == pytest.approx(-found.difference.value)


@pytest.mark.parametrize("metric", ["mean", "ratio"])
def test_equal_networks_differ_in_no_more_than_the_stated_part_of_600_comparisons(metric):
    generator = np.random.default_rng(7)
    num_false = 0
    for trial in range(600):
        first, second = _pair(generator, 40)
        if metric == "mean":
            pair = Mean(first), Mean(second)
        else:
            sizes = generator.uniform(0.1, 3.0, 40)
            pair = Ratio(first * sizes, sizes), Ratio(second * sizes, sizes)
        found = compare_on_images(*pair, seed=trial, num_permutations=200, num_resamples=20)
        num_false += found.differs
    # A test of exactly 5 % gives 30 +- 5.3 of 600; neither blind nor false-alarmed.
    assert 15 <= num_false <= 0.07 * 600


def test_injected_effects_are_found_as_often_as_stated():
    generator = np.random.default_rng(11)
    num_found, stated, false_rate = 0, [], []
    for trial in range(300):
        first, second = _pair(generator, 60, effect=0.025)
        found = compare_on_images(
            Mean(first), Mean(second), seed=trial, num_permutations=300, num_resamples=200
        )
        num_found += found.differs
        stated.append(found.power(0.025))
        assert found.power(found.detectable) == pytest.approx(0.8, abs=0.01)
        false_rate.append(found.power(0.0))
    assert np.mean(false_rate) == pytest.approx(LEVEL, abs=0.02)
    mean = float(np.mean(stated))
    assert 0.5 < mean < 0.95
    assert num_found / 300 == pytest.approx(mean, abs=0.06)
