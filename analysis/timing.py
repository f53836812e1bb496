"""Timing of several things side by side: warmed until stable, then in turns, block by block.

A machine is never the same for long: its clock, its caches and its other users change. Whatever
is compared is therefore measured in turns (A B C, C B A, ...), so that a change hits all alike,
and a comparison is made turn by turn.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.special import stdtrit

from analysis.other_load import OtherLoad

_WARM_WINDOW_RUNS = 3
_WARM_WINDOW_S = 0.1
_WARM_TOLERANCE = 0.02
"""How far the medians of two windows in a row may lie apart once the times are stable."""
_CONFIDENCE = 0.95
_FEWEST_ROUNDS = 2
_PAUSE_S = 0.02
"""Threads that wait for more work keep a core busy for a while: OpenMP's for 10 ms, measured."""


class Runnable(Protocol):
    """What can be timed."""

    def run(self) -> object:
        """Does once what is timed, and returns when it is done."""

    def turn(self) -> AbstractContextManager[None]:
        """Is the context of its runs: sets what they need, and puts it back."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long is measured.

    Attributes:
        min_runs: Timed runs, at least.
        min_duration_s: Seconds of timed runs, at least.
        max_duration_s: Seconds after which one gives up on the number of runs.
        max_warm_s: Seconds after which one gives up on stable times.
        num_rounds: Turns that each thing takes.
    """

    min_runs: int
    min_duration_s: float
    max_duration_s: float
    max_warm_s: float
    num_rounds: int

    @property
    def runs_a_turn(self) -> int:
        """Runs of one turn, at least."""
        return math.ceil(self.min_runs / self.num_rounds)


THOROUGH = Effort(
    min_runs=50, min_duration_s=2.0, max_duration_s=60.0, max_warm_s=5.0, num_rounds=10
)
"""What a comparison rests on."""
BRIEF = Effort(min_runs=20, min_duration_s=0.5, max_duration_s=10.0, max_warm_s=1.0, num_rounds=5)
"""For a number that is noted in passing."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The runs of one thing in one round.

    Attributes:
        index: Which thing.
        round: Which round.
        times_ms: How long each run took.
        elapsed_s: Seconds of the whole turn.
        busy_cores: Cores' worth of time that other processes used meanwhile.
        probed: What was probed right before, None if nothing was.
    """

    index: int
    round: int
    times_ms: tuple[float, ...]
    elapsed_s: float
    busy_cores: float
    probed: float | None = None

    @property
    def p50_ms(self) -> float:
        """The median."""
        return statistics.median(self.times_ms)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as long one thing takes as another, with its 95 % interval.

    Attributes:
        value: The geometric mean over rounds of the ratio of the medians.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def warm(thing: Runnable, max_warm_s: float) -> bool:
    """Runs something until its times are stable; returns whether they became so.

    They are once the medians of two windows in a row agree.

    Args:
        thing: What is run.
        max_warm_s: When to give up; two windows are run in any case.
    """
    started = time.perf_counter()
    with thing.turn():
        before = _window_ms(thing.run)
        while True:
            now = _window_ms(thing.run)
            if abs(now / before - 1) <= _WARM_TOLERANCE:
                return True
            if time.perf_counter() - started > max_warm_s:
                return False
            before = now


def take_turns(
    things: Sequence[Runnable], effort: Effort, probe: Callable[[], float] | None = None
) -> Iterator[Turn]:
    """Times things in turns; each round goes through them the other way round.

    Args:
        things: What is timed.
        effort: How long.
        probe: Measures before every turn what the machine is like, or None.

    Yields:
        Every turn as it ends, so that whoever is interrupted keeps what there is.
    """
    forward = list(enumerate(things))
    for number in range(effort.num_rounds):
        for index, thing in forward[:: -1 if number % 2 else 1]:
            time.sleep(_PAUSE_S)
            probed = None
            if probe is not None:
                probed = probe()
                time.sleep(_PAUSE_S)
            yield replace(_turn(index, number, thing, effort), probed=probed)


def ratio(turns: Sequence[Turn], base: Sequence[Turn]) -> Ratio | None:
    """Compares the turns of two things, round by round; None for fewer than two rounds.

    The logarithms of the rounds' ratios are taken as a sample: their mean has Student's interval.
    """
    of_base = {turn.round: turn.p50_ms for turn in base}
    logs = np.log([turn.p50_ms / of_base[turn.round] for turn in turns if turn.round in of_base])
    if len(logs) < _FEWEST_ROUNDS:
        return None
    # Of Student's distribution as scipy.stats has it, which takes most of a second to import.
    quantile = stdtrit(len(logs) - 1, (1 + _CONFIDENCE) / 2)
    half = quantile * logs.std(ddof=1) / len(logs) ** 0.5
    mean = logs.mean()
    return Ratio(
        value=float(np.exp(mean)), low=float(np.exp(mean - half)), high=float(np.exp(mean + half))
    )


def _window_ms(run: Callable[[], object]) -> float:
    """Returns the median of a short series of runs."""
    times_ms: list[float] = []
    elapsed_ms = 0.0
    while len(times_ms) < _WARM_WINDOW_RUNS or elapsed_ms < _WARM_WINDOW_S * 1e3:
        times_ms.append(_timed_ms(run))
        elapsed_ms += times_ms[-1]
    return statistics.median(times_ms)


def _turn(index: int, number: int, thing: Runnable, effort: Effort) -> Turn:
    with thing.turn():
        # The neighbour's data are in the caches still.
        thing.run()
        load = OtherLoad()
        times_ms = tuple(_timed(thing.run, effort))
        return Turn(
            index=index,
            round=number,
            times_ms=times_ms,
            elapsed_s=sum(times_ms) / 1e3,
            busy_cores=load.busy_cores(),
        )


def _timed(run: Callable[[], object], effort: Effort) -> Iterator[float]:
    """Times the runs of one turn."""
    elapsed_ms, count = 0.0, 0
    while True:
        time_ms = _timed_ms(run)
        yield time_ms
        elapsed_ms += time_ms
        count += 1
        share_s = elapsed_ms / 1e3 * effort.num_rounds
        if count >= effort.runs_a_turn and share_s >= effort.min_duration_s:
            return
        if share_s >= effort.max_duration_s:
            return


def _timed_ms(run: Callable[[], object]) -> float:
    before = time.perf_counter()
    run()
    return (time.perf_counter() - before) * 1e3
