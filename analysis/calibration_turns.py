"""Networks that take turns, and how fast the machine is meanwhile.

Needs NumPy, no more: it goes to other devices as well.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Turn = tuple[float, float]
    """What a network took in milliseconds, and the reference around it in seconds."""
    Factors = tuple[float, float, float]
    """Something from all turns, from every other, and from those between them."""

NUM_ROUNDS = 8
TURN_S = 0.05
RUNS_A_TURN = 4
AT_ONCE = 16
"""Networks that take turns: each is measured over half a minute, so that bad moments pass."""
REFERENCE_SIDE, REFERENCE_PRODUCTS, REFERENCE_RUNS = 64, 60, 3
STEADY, MOST_TRIES = 1.06, 3
BEST_SHARE = 0.1
PARTS = (slice(None), slice(None, None, 2), slice(1, None, 2))
"""All turns, and two halves: neighbouring turns go to different ones."""
SHARE = 0.75
"""Networks take so much of the reference's slowing, as a power; found by letting both take turns.
"""


class MachineSpeed:
    """How fast the machine is, beside how fast it was at its best.

    Where a processor is shared, whatever runs beside slows everything down for seconds, by half
    as much again, and takes no processor time of this process. Products of matrices tell, which
    are too small for a second thread; networks are slowed down somewhat less than they are.

    Where caches and memory are shared as well, networks are slower for minutes while products of
    small matrices are not. Another network tells, the anchor, which takes its turns among them.

    Attributes:
        seen_s: How long the products took so far.
        anchors: The anchor's turns, batch by batch of networks that took turns with it.
    """

    def __init__(self) -> None:
        self.matrix = np.random.default_rng(0).standard_normal((REFERENCE_SIDE,) * 2)
        self.seen_s: list[float] = []
        self.anchors: list[list[Turn]] = []
        self.reference_s()

    @property
    def best_s(self) -> float:
        """How long the products take at the machine's best: but for a tenth of the moments.

        Single moments are quicker now and then, and no network runs in them.
        """
        return float(np.quantile(self.seen_s, BEST_SHARE))

    def reference_s(self) -> float:
        """Returns how long the products take now."""
        times_s = []
        for _ in range(REFERENCE_RUNS):
            started = time.perf_counter()
            for _ in range(REFERENCE_PRODUCTS):
                np.dot(self.matrix, self.matrix)
            times_s.append(time.perf_counter() - started)
        self.seen_s.append(min(times_s))
        return self.seen_s[-1]

    def turn(self, run: Callable[[], float]) -> Turn:
        """Makes a turn while the speed is steady; where it never is, the last of a few counts."""
        before_s = self.reference_s()
        for _ in range(MOST_TRIES):
            time_ms = run()
            after_s = self.reference_s()
            reference_s = (before_s * after_s) ** 0.5
            if max(before_s, after_s) <= STEADY * min(before_s, after_s):
                break
            before_s = after_s
        return time_ms, reference_s

    def factors(self) -> list[Factors]:
        """Returns, for each batch, by what its networks' times count: as if the anchor were quick.

        From all turns, from every other, and from those between them. As a power of its slowing,
        1 predicted networks of other batches better than 0 or 1.5.
        """
        if not self.anchors:
            return []
        columns = []
        for part in PARTS:
            times_ms = [self.time_ms(anchor[part]) for anchor in self.anchors]
            best_ms = float(np.quantile(times_ms, BEST_SHARE))
            columns.append([best_ms / time_ms for time_ms in times_ms])
        return list(zip(*columns))  # noqa: B905 - old Pythons

    def times_ms(self, turns: Sequence[Turn], factors: Factors) -> Factors:
        """Returns what a network takes at the machine's best, and two measurements of it.

        Args:
            turns: The network's turns.
            factors: Those of its batch.
        """
        whole, even, odd = (
            self.time_ms(turns[part]) * factor
            for part, factor in zip(PARTS, factors)  # noqa: B905 - old Pythons
        )
        return whole, even, odd

    def time_ms(self, turns: Sequence[Turn]) -> float:
        """Returns what a network takes while products are quick: the middle of the quieter half."""
        quieter = sorted(turns, key=lambda turn: turn[1])[: (len(turns) + 1) // 2]
        best_s = self.best_s
        at_best_ms = [time_ms * (best_s / reference_s) ** SHARE for time_ms, reference_s in quieter]
        middle_ms: float = statistics.median(at_best_ms)
        return middle_ms


def take_turns(
    runs: Sequence[Callable[[], float]],
    anchor: Callable[[], float],
    speed: MachineSpeed,
    on_round: Callable[[], None] = lambda: None,
) -> list[list[Turn]]:
    """Lets networks and the anchor take turns; each round goes the other way round.

    Args:
        runs: For each network, what makes a turn and says how long a pass took, in milliseconds.
        anchor: The same for the anchor.
        speed: The machine's speed; it keeps the anchor's turns.
        on_round: Is called whenever each had a turn.

    Returns:
        The turns of each.
    """
    # In the middle, so that it is as far from the first as from the last.
    middle = len(runs) // 2
    everyone = [*runs[:middle], anchor, *runs[middle:]]
    turns: list[list[Turn]] = [[] for _ in everyone]
    for number in range(NUM_ROUNDS):
        order = range(len(everyone))
        for index in reversed(order) if number % 2 else order:
            turns[index].append(speed.turn(everyone[index]))
        on_round()
    speed.anchors.append(turns.pop(middle))
    return turns


def fastest_ms(run: Callable[[], object], threads: int) -> float:
    """Returns the fastest of a few passes.

    Args:
        run: Makes a pass.
        threads: Threads that it uses; with one, processor time counts, which others cannot take.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    # The neighbour's data are in the caches still.
    run()
    times_s: list[float] = []
    started = time.perf_counter()
    while len(times_s) < RUNS_A_TURN or time.perf_counter() - started < TURN_S:
        before = clock()
        run()
        times_s.append(clock() - before)
    return min(times_s) * 1e3
