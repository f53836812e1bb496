"""Architectures over training runs: means over seeds, differences, and how many seeds they need.

A claim about an architecture is a claim about the runs that it would give, so it rests on seeds;
``analysis.permutation`` speaks of two trained networks on images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.permutation import LEVEL, POWER

MOST_SEEDS = 1000
"""More seeds than this are not counted out."""
_LEAST = 2
_FAR = 12.0


@dataclass(frozen=True, kw_only=True)
class SeedSummary:
    """Scores of one network over training runs that differ in their seed alone.

    Attributes:
        num_seeds: Number of runs.
        mean: Mean score.
        sd: Standard deviation between runs; NaN for a single one.
        low: Lower end of the 95 % interval of the mean (Student's t); NaN for a single run.
        high: Upper end.
    """

    num_seeds: int
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SeedComparison:
    """How two architectures differ over training runs.

    Attributes:
        first: The one.
        second: The other.
        difference: The first's mean less the second's.
        low: Lower end of the 95 % interval of the difference (Welch); NaN if it has none.
        high: Upper end.
        p: Welch's two-sided p; NaN where one of them has a single run.
        num_more_seeds: Further runs of each that would show a difference of this size with a
            power of ``POWER``; 0 if the runs do already, None if that takes more than
            ``MOST_SEEDS`` or cannot be told.
    """

    first: SeedSummary
    second: SeedSummary
    difference: float
    low: float
    high: float
    p: float
    num_more_seeds: int | None

    @property
    def differs(self) -> bool:
        """Whether the two can be told apart at ``LEVEL``."""
        return self.p <= LEVEL


def summarise_seeds(scores: Sequence[float]) -> SeedSummary:
    """Returns mean, deviation and interval of a network's scores.

    >>> summary = summarise_seeds([0.30, 0.32, 0.34])
    >>> f"{summary.mean:.2f} +- {summary.sd:.2f} over {summary.num_seeds} seeds"
    '0.32 +- 0.02 over 3 seeds'

    Args:
        scores: One score a run, all under one protocol.

    Raises:
        ValueError: If there is none.
    """
    if not scores:
        message = "a mean needs a score"
        raise ValueError(message)
    values = np.asarray(scores, dtype=np.float64)
    mean, count = float(values.mean()), len(values)
    if count < _LEAST:
        return SeedSummary(num_seeds=count, mean=mean, sd=math.nan, low=math.nan, high=math.nan)
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf(1 - LEVEL / 2, count - 1)) * sd / math.sqrt(count)
    return SeedSummary(num_seeds=count, mean=mean, sd=sd, low=mean - half, high=mean + half)


def compare_over_seeds(first: Sequence[float], second: Sequence[float]) -> SeedComparison:
    """Compares two architectures by Welch's t test over their training runs.

    The test takes scores of runs as normal, and lets the two spread differently.

    Args:
        first: One score a run of the one, all under one protocol.
        second: Scores of the other under the same protocol.

    Raises:
        ValueError: If one of them has no score.
    """
    one, other = summarise_seeds(first), summarise_seeds(second)
    difference = one.mean - other.mean
    low = high = p = math.nan
    if min(one.num_seeds, other.num_seeds) >= _LEAST:
        variances = [each.sd**2 / each.num_seeds for each in (one, other)]
        error = math.sqrt(sum(variances))
        if error == 0:
            p = 1.0 if difference == 0 else 0.0
            low = high = difference
        else:
            freedom = sum(variances) ** 2 / sum(
                variance**2 / (each.num_seeds - 1)
                for variance, each in zip(variances, (one, other), strict=True)
            )
            half = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
            low, high = difference - half, difference + half
            p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return SeedComparison(
        first=one,
        second=other,
        difference=difference,
        low=low,
        high=high,
        p=p,
        num_more_seeds=_num_more_seeds(one, other, difference, p),
    )


def seeds_needed(difference: float, sd: float) -> int | None:
    """Returns how many runs of each of two networks show a difference with a power of ``POWER``.

    Two-sided t test at ``LEVEL`` with equal numbers of runs and equal spread.

    >>> seeds_needed(0.02, 0.01), seeds_needed(0.01, 0.01)
    (6, 17)

    Args:
        difference: The true difference of the means.
        sd: The standard deviation between runs.

    Returns:
        None if more than ``MOST_SEEDS`` are needed.
    """
    if difference == 0:
        return None
    if sd == 0:
        return _LEAST
    enough = np.flatnonzero(_powers(difference / sd) >= POWER)
    return _LEAST + int(enough[0]) if len(enough) else None


def _powers(effect: float) -> NDArray[np.float64]:
    """Power of the t test for an effect in standard deviations, for 2 to ``MOST_SEEDS`` runs."""
    num_seeds = np.arange(_LEAST, MOST_SEEDS + 1)
    freedom = 2 * (num_seeds - 1)
    critical = stats.t.ppf(1 - LEVEL / 2, freedom)
    shift = abs(effect) * np.sqrt(num_seeds / 2)
    # The noncentral t loses its digits far from the critical value, where the power is 1.
    is_certain = shift > critical + _FAR
    near = np.where(is_certain, 0.0, shift)
    both = stats.nct.sf(critical, freedom, near) + stats.nct.cdf(-critical, freedom, near)
    powers: NDArray[np.float64] = np.where(is_certain, 1.0, both)
    return powers


def _num_more_seeds(
    one: SeedSummary, other: SeedSummary, difference: float, p: float
) -> int | None:
    if p <= LEVEL:
        return 0
    spreads = [each.sd**2 for each in (one, other) if not math.isnan(each.sd)]
    if not spreads:
        return None
    needed = seeds_needed(difference, math.sqrt(sum(spreads) / len(spreads)))
    # The runs that there are were not enough, whatever was to be expected of them.
    return None if needed is None else max(1, needed - min(one.num_seeds, other.num_seeds))
