"""Strata of a cost: ranges from which a search draws equally many networks.

Random choices seldom give the cheapest and the dearest networks of a space: most costs lie near
the middle. A study that names a cost and a number of strata has its random proposals drawn from
the ranges in turn, so that what is evaluated covers all costs that the limits leave.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.conventions import CONVENTIONS
from analysis.part_tables import Counts
from blocks import ImageSize, Problem, StudyError, did_you_mean
from networks import SpecSpace
from search.feasible import costs_of, feasible_rows

SPACINGS = ("even", "quantile")
"""Strata of equal widths, or strata that hold equally many of the space's networks."""

DEFAULT_COUNT = 5
_KEYS = ("by", "count", "spacing", "edges")
_LEAST_EDGES = 2


@dataclass(frozen=True, kw_only=True)
class Strata:
    """Ranges of a cost.

    Attributes:
        by: The convention.
        edges: Where the ranges meet, from the smallest cost to the largest; each range begins at
            its lower edge and ends below its upper one, the last one at it.
    """

    by: str
    edges: tuple[int, ...]

    def __len__(self) -> int:
        """The number of ranges."""
        return len(self.edges) - 1

    def stratum(self, cost: int) -> int | None:
        """Returns the number of the range that holds a cost, None if none does."""
        if not self.edges[0] <= cost <= self.edges[-1]:
            return None
        return min(bisect_right(self.edges, cost), len(self)) - 1

    def strata(self, costs: Counts) -> Counts:
        """Returns ``stratum`` of many costs, -1 for None.

        Shape:
            (n,) to (n,).
        """
        found = np.searchsorted(self.edges, costs, side="right") - 1
        found = np.where(costs == self.edges[-1], len(self) - 1, found)
        return np.where(found < len(self), found, -1).astype(np.int64)


def check_strata(written: Mapping[str, Any]) -> None:
    """Checks what a study file says of strata.

    Raises:
        StudyError: With everything that is wrong.
    """
    problems = _problems(written)
    if problems:
        raise StudyError(problems)


def strata_of(
    written: Mapping[str, Any],
    *,
    space: SpecSpace,
    size: ImageSize,
    limits: Mapping[str, float],
    seed: int,
) -> Strata:
    """Makes strata from what a study file says.

    Args:
        written: The table ``strata``, checked; edges that it gives stand, as in a resolved file.
        space: The networks.
        size: The image's size.
        limits: The largest values that may be, by convention.
        seed: Seed of the sample of a large space.

    Raises:
        StudyError: If the space has too few different costs.
    """
    by = written["by"]
    costs = costs_of(space, size, feasible_rows(space, size, limits, seed), by)
    if "edges" in written:
        strata = Strata(by=by, edges=tuple(written["edges"]))
        if len(costs) and not (strata.strata(costs) >= 0).any():
            raise StudyError(
                Problem(
                    where="strata.edges",
                    rule="some network within the limits costs what a stratum holds",
                    got=f"networks of {costs.min():,} to {costs.max():,} {by}",
                    do="write edges in this range, or leave them out",
                )
            )
        return strata
    count = written.get("count", DEFAULT_COUNT)
    edges = _edges(costs, count, is_even=written.get("spacing", "even") == "even")
    num_different = len(np.unique(costs))
    if num_different < count or len(edges) <= count:
        raise StudyError(
            Problem(
                where="strata.count",
                rule="the networks within the limits differ enough in cost to fill the strata",
                got=f"{count} strata for {num_different} different {by}",
                do="write a smaller count, loosen [limits], or add choices under [free]",
            )
        )
    return Strata(by=by, edges=edges)


def _edges(costs: Counts, count: int, *, is_even: bool) -> tuple[int, ...]:
    """Returns the edges of strata, fewer than wanted where costs do not differ enough."""
    if not len(costs):
        return ()
    shares = np.linspace(0, 1, count + 1)
    if is_even:
        found = costs.min() + shares * (costs.max() - costs.min())
    else:
        found = np.quantile(costs, shares)
    return tuple(dict.fromkeys(round(edge) for edge in found.tolist()))


def _problems(written: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(
            where=f"strata.{key}",
            rule=f"strata have the settings {', '.join(_KEYS)}",
            got=repr(key),
            do=did_you_mean(key, _KEYS),
        )
        for key in written
        if key not in _KEYS
    ]
    by = written.get("by")
    if not isinstance(by, str) or by not in CONVENTIONS:
        problems.append(
            Problem(
                where="strata.by",
                rule="strata are ranges of a cost that is counted in closed form",
                got="nothing" if by is None else repr(by),
                do=did_you_mean(str(by), CONVENTIONS),
            )
        )
    if "edges" in written:
        return problems + _edges_problems(written)
    count = written.get("count", DEFAULT_COUNT)
    if type(count) is not int or count < _LEAST_EDGES:
        problems.append(
            Problem(
                where="strata.count",
                rule="this is a whole number of at least 2",
                got=repr(count),
                do=f"write count = {DEFAULT_COUNT}",
            )
        )
    spacing = written.get("spacing", "even")
    if spacing not in SPACINGS:
        problems.append(
            Problem(
                where="strata.spacing",
                rule=f"strata are spaced by {' or '.join(SPACINGS)}",
                got=repr(spacing),
                do=did_you_mean(str(spacing), SPACINGS),
            )
        )
    return problems


def _edges_problems(written: Mapping[str, Any]) -> list[Problem]:
    edges = written["edges"]
    is_list = isinstance(edges, list) and all(type(edge) is int for edge in edges)
    problems = []
    if not is_list or len(edges) <= _LEAST_EDGES or any(a >= b for a, b in pairwise(edges)):
        problems.append(
            Problem(
                where="strata.edges",
                rule="edges are at least 3 whole numbers, each larger than the one before",
                got=repr(edges),
                do="write edges = [50_000_000, 100_000_000, 200_000_000], or a count instead",
            )
        )
    problems += [
        Problem(
            where=f"strata.{key}",
            rule="edges say how many strata there are and how they are spaced",
            got=f"{key} beside edges",
            do=f"leave {key} or edges out",
        )
        for key in ("count", "spacing")
        if key in written
    ]
    return problems
