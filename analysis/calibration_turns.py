"""How fast a machine is right now. Needs NumPy, no more: it goes to other devices as well."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Turn = tuple[float, float]
    """What a network took in milliseconds, and the reference around it in seconds."""

REFERENCE_SIDE, REFERENCE_PRODUCTS, REFERENCE_RUNS = 64, 60, 3
STEADY, MOST_TRIES = 1.06, 3
SUFFERING = 0.75
"""Networks take so much of the reference's slowing, as a power; found by taking turns."""


class Weather:
    """How fast the machine is, beside how fast it was at its best.

    Where a processor is shared, whatever runs beside slows everything down for seconds, by half
    as much again, and takes no processor time of this process. Products of matrices tell, which
    are too small for a second thread; networks suffer somewhat less than they do.
    """

    def __init__(self) -> None:
        self.matrix = np.random.default_rng(0).standard_normal((REFERENCE_SIDE,) * 2)
        self.best_s = float("inf")
        self.reference_s()

    def reference_s(self) -> float:
        """Returns how long the products take now."""
        times_s = []
        for _ in range(REFERENCE_RUNS):
            started = time.perf_counter()
            for _ in range(REFERENCE_PRODUCTS):
                np.dot(self.matrix, self.matrix)
            times_s.append(time.perf_counter() - started)
        self.best_s = min(self.best_s, *times_s)
        return min(times_s)

    def turn(self, run: Callable[[], float]) -> Turn:
        """Makes a turn in steady weather; where it always changes, the last of a few counts."""
        before_s = self.reference_s()
        for _ in range(MOST_TRIES):
            time_ms = run()
            after_s = self.reference_s()
            reference_s = (before_s * after_s) ** 0.5
            if max(before_s, after_s) <= STEADY * min(before_s, after_s):
                break
            before_s = after_s
        return time_ms, reference_s

    def times_ms(self, turns: list[Turn]) -> tuple[float, float, float]:
        """Returns what a network takes at the machine's best, and two measurements of it.

        The middle one of all turns, of every other, and of those between them.
        """
        fair_ms = [
            time_ms * (self.best_s / reference_s) ** SUFFERING for time_ms, reference_s in turns
        ]
        # Neighbouring turns go to different halves.
        all_ms, before_ms, again_ms = map(statistics.median, (fair_ms, fair_ms[::2], fair_ms[1::2]))
        return all_ms, before_ms, again_ms
