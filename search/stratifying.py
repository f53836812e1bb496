"""Draws networks from the strata of a study in turn.

What is drawn depends on the study and on the networks that it knows, and on nothing else: the rows
of every stratum stand in one seeded order, and the first that leads to an unknown network is next.
So a search that goes on draws what it would have drawn, whenever and however it was stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from networks import spec_id
from search.feasible import costs_of, feasible_rows
from search.proposing import Proposer
from search.study import Study


class StratifiedDraws:
    """Draws from the strata of a study.

    Args:
        study: The study; it has strata.
        proposer: Judges what is drawn.
    """

    def __init__(self, study: Study, proposer: Proposer) -> None:
        assert study.strata is not None
        self._strata = study.strata
        self._study = study
        self._proposer = proposer
        rows = feasible_rows(study.space, study.input, study.count_limits, study.seed)
        costs = costs_of(study.space, study.input, rows, study.strata.by)
        generator = np.random.default_rng(study.seed)
        order = generator.permutation(len(rows))
        strata = study.strata.strata(costs)[order]
        self._rows = [rows[order[strata == number]] for number in range(len(study.strata))]
        self._next = [0] * len(self._rows)
        # Without it, a search that ends early would have tried the cheapest networks only.
        self._turns = generator.permutation(len(self._rows)).tolist()

    def draw(self, costs: Iterable[int], is_known: Callable[[str], bool]) -> tuple[int, ...] | None:
        """Returns a row of the stratum that holds the fewest networks, None if all are used up.

        Args:
            costs: What the networks cost that were tried, or are being tried.
            is_known: Tells whether a network of some ``spec_id`` is one of these, or ruled out;
                what is known once stays known.
        """
        held = Counter(map(self._strata.stratum, costs))
        for number in sorted(self._turns, key=lambda number: held[number]):
            row = self._first(number, is_known)
            if row is not None:
                return row
        return None

    def _first(self, number: int, is_known: Callable[[str], bool]) -> tuple[int, ...] | None:
        rows = self._rows[number]
        while self._next[number] < len(rows):
            row = tuple(rows[self._next[number]].tolist())
            spec = self._study.space.spec(row)
            if not is_known(spec_id(spec)) and self._proposer.fits(spec):
                return row
            self._next[number] += 1
        return None
