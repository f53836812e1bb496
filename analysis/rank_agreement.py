"""How well two rankings of the same networks agree, such as those of a short and a long schedule.

Everything here takes scores as arrays with one column a network; R rows are resamples of the
images behind them. Larger is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics import Interval

NUM_RESAMPLES = 1000
NUM_PERMUTATIONS = 10_000
LEAST_IN_STRATUM = 5
"""An order of fewer networks is not spoken of."""
HOLDS_AT = 0.9
"""The Kendall tau to the final ranking from which on a ranking is said to hold."""

_MOST_STRATA = 4
_MOST_ENUMERATED = 8
"""8! = 40,320 orders are looked at one by one."""
_ROUNDING = 1e-12

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RankP:
    """How often a random order agrees, or disagrees, at least as much.

    Attributes:
        p: The two-sided p of Kendall's tau; NaN where tau is undefined.
        num_permutations: Orders behind it: all there are if it is exact.
        is_exact: Whether every order was counted.
    """

    p: float
    num_permutations: int
    is_exact: bool


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well two rankings of the same networks agree.

    Attributes:
        num_networks: Number of networks.
        tau: Kendall's tau-b with its 95 % bootstrap interval; NaN where a score is constant.
        interval_over: What the interval was drawn over: ``networks``, or ``networks and images``.
        p: How far it is from chance.
    """

    num_networks: int
    tau: Interval
    interval_over: str
    p: RankP


@dataclass(frozen=True, kw_only=True)
class Stability:
    """How the ranking at a point of training agrees with the final one.

    Attributes:
        step: Optimiser steps done.
        tau: Kendall's tau-b to the final ranking, with its 95 % bootstrap interval over networks.
    """

    step: int
    tau: Interval


def kendall_tau(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Returns Kendall's tau-b of the rows of two arrays (Kendall 1945).

    Of the pairs of networks that neither ranking ties, those in the same order less those in the
    other, over the geometric mean of the numbers of pairs that each ranking does not tie.

    >>> kendall_tau([[1, 2, 3]], [[1, 3, 2]]).round(3).tolist()
    [0.333]

    Args:
        first: One score a network.
        second: The other score of each.

    Returns:
        One number a row from -1 to 1; NaN where a ranking ties all.

    Shape:
        (R, n) and (R, n) to (R,).
    """
    signs = _signs(np.asarray(first, dtype=np.float64))
    other = _signs(np.asarray(second, dtype=np.float64))
    untied = (signs**2).sum(axis=1) * (other**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        tau: FloatArray = (signs * other).sum(axis=1) / np.sqrt(untied)
    return tau


def rank_p(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> RankP:
    """Returns the two-sided permutation p of Kendall's tau.

    Exact where no ranking has ties, by the number of orders with so many inversions, and for few
    networks with ties by enumeration; else over random orders, the observed one included.

    >>> rank_p([1, 2, 3, 4], [10, 20, 30, 40])
    RankP(p=0.08333333333333333, num_permutations=24, is_exact=True)

    Args:
        first: One score a network.
        second: The other score of each.
        seed: Seed of random orders.
    """
    one, other = (np.asarray(scores, dtype=np.float64) for scores in (first, second))
    count = len(one)
    observed = abs(float((_signs(one[None]) * _signs(other[None])).sum()))
    if count == 0 or min(np.ptp(one), np.ptp(other)) == 0:
        return RankP(p=math.nan, num_permutations=0, is_exact=False)
    if len(set(one.tolist())) == len(set(other.tolist())) == count:
        ways = _ways_by_inversions(count)
        pairs = len(ways) - 1
        extreme = sum(n for k, n in enumerate(ways) if abs(pairs - 2 * k) >= observed)
        total = math.factorial(count)
        return RankP(p=extreme / total, num_permutations=total, is_exact=True)
    is_exact = count <= _MOST_ENUMERATED
    if is_exact:
        orders = np.array(list(permutations(range(count))))
    else:
        generator = np.random.default_rng(seed)
        drawn = np.tile(np.arange(count), (NUM_PERMUTATIONS - 1, 1))
        orders = np.concatenate([np.arange(count)[None], generator.permuted(drawn, axis=1)])
    found = np.abs((_signs(one[None]) * _signs(other[orders])).sum(axis=1))
    share = float((found >= observed - _ROUNDING).mean())
    return RankP(p=share, num_permutations=len(orders), is_exact=is_exact)


def agreement(
    first: FloatArray,
    second: FloatArray,
    *,
    resampled: tuple[FloatArray, FloatArray] | None = None,
    seed: int = 0,
) -> Agreement:
    """Returns Kendall's tau of two rankings with its interval and p.

    The interval draws networks with replacement, since a conclusion is to hold for other networks
    of the kind; with resampled scores, each draw takes other images too. Those add the noise of
    the images once more, so such an interval lies rather low.

    Args:
        first: One score a network (n,).
        second: The other score of each (n,).
        resampled: Both on the same resampled images (R, n), None where there are none.
        seed: Seed of the draws.

    Raises:
        ValueError: If there are no networks, or if they are not the same.
    """
    count = len(first)
    if count == 0 or second.shape != (count,):
        message = "two rankings need the same networks, at least one"
        raise ValueError(message)
    return Agreement(
        num_networks=count,
        tau=_bootstrapped(first, second, resampled, seed),
        interval_over="networks and images" if resampled else "networks",
        p=rank_p(first.tolist(), second.tolist(), seed=seed),
    )


def top_k_regret(short: ArrayLike, long: ArrayLike, k: int) -> FloatArray:
    """Returns what is lost by training only the ``k`` networks that a short schedule puts first.

    The best long score of all less the best among the k. Of networks that the short schedule
    ties, those with the lower long score are taken first: the regret is never flattered.

    >>> top_k_regret([[0.1, 0.3, 0.2]], [[0.7, 0.5, 0.6]], 2).round(3).tolist()
    [0.1]

    Args:
        short: Scores by the short schedule.
        long: Scores by the long one.
        k: How many are taken, from 1 to n.

    Shape:
        (R, n) and (R, n) to (R,).
    """
    chosen_by, judged_by = np.asarray(short, dtype=float), np.asarray(long, dtype=float)
    order = np.lexsort((judged_by, -chosen_by), axis=-1)[:, :k]
    best: FloatArray = judged_by.max(axis=1)
    lost: FloatArray = best - np.take_along_axis(judged_by, order, axis=1).max(axis=1)
    return lost


def cost_strata(costs: Sequence[float]) -> tuple[tuple[int, ...], ...]:
    """Returns networks in strata of a cost, the cheapest first, as equal in number as can be.

    >>> cost_strata([5, 1, 4, 2, 3, 9, 8, 7, 6, 0])
    ((9, 1, 3, 4, 2), (0, 8, 7, 6, 5))

    Args:
        costs: One cost a network.

    Returns:
        Indices of the networks of every stratum, by rising cost; none where two strata would not
        hold ``LEAST_IN_STRATUM`` networks each.
    """
    num_strata = min(_MOST_STRATA, len(costs) // LEAST_IN_STRATUM)
    if num_strata <= 1:
        return ()
    order = np.argsort(np.asarray(costs, dtype=np.float64), kind="stable")
    return tuple(tuple(part.tolist()) for part in np.array_split(order, num_strata))


def stabilities(
    steps: Sequence[int], scores: FloatArray, *, seed: int = 0
) -> tuple[Stability, ...]:
    """Returns how the ranking at every evaluation agrees with that of the last one.

    Args:
        steps: The steps at which all networks were evaluated, rising.
        scores: Their scores there (len(steps), n).
        seed: Seed of the bootstrap.
    """
    final = scores[-1]
    return tuple(
        Stability(step=step, tau=_bootstrapped(row, final, None, seed))
        for step, row in zip(steps, scores, strict=True)
    )


def holds_from(found: Sequence[Stability], least: float = HOLDS_AT) -> int | None:
    """Returns the step from which on the ranking agreed with the final one until the end.

    Args:
        found: What ``stabilities`` gives.
        least: The tau from which on rankings are said to agree.

    Returns:
        None where only the last evaluation, which agrees with itself, does.
    """
    step = None
    for each in reversed(found[:-1]):
        if not each.tau.value >= least:
            break
        step = each.step
    return step


def _signs(scores: FloatArray) -> FloatArray:
    """Which of every pair is better: (R, n) to (R, n (n - 1) / 2)."""
    first, second = np.triu_indices(scores.shape[-1], k=1)
    signs: FloatArray = np.sign(scores[:, first] - scores[:, second])
    return signs


def _ways_by_inversions(count: int) -> list[int]:
    """How many orders of so many networks have 0, 1, 2, ... inversions."""
    ways = [1]
    for size in range(2, count + 1):
        # One more network stands before 0 to size - 1 of the others.
        sums = [0, *accumulate([*ways, *[0] * (size - 1)])]
        ways = [sums[k + 1] - sums[max(0, k + 1 - size)] for k in range(len(sums) - 1)]
    return ways


def _bootstrapped(
    first: FloatArray,
    second: FloatArray,
    resampled: tuple[FloatArray, FloatArray] | None,
    seed: int,
) -> Interval:
    count = len(first)
    num_resamples = len(resampled[0]) if resampled else NUM_RESAMPLES
    drawn = np.random.default_rng(seed).integers(count, size=(num_resamples, count))
    every = resampled or tuple(
        np.broadcast_to(scores, (num_resamples, count)) for scores in (first, second)
    )
    one, other = (np.take_along_axis(scores, drawn, axis=1) for scores in every)
    taus = kendall_tau(one, other)
    taus = taus[~np.isnan(taus)]
    value = float(kendall_tau(first[None], second[None])[0])
    low, high = np.percentile(taus, [2.5, 97.5]) if taus.size else (math.nan, math.nan)
    return Interval(value=value, low=float(low), high=float(high), num_resamples=num_resamples)
