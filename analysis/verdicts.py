"""What disturbed a measurement: the words of a latency's verdict."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.handover import SLOW_HANDOVER
from analysis.other_load import usable_cores
from analysis.timing import Effort, Turn

QUIET = "quiet"
"""The verdict on a measurement that nothing is known to have disturbed."""

_QUIET_LOAD = 0.1
"""Part of the processor that others may keep busy."""
_QUIET_SPREAD = 1.25
"""Largest ratio of the 90th percentile to the median."""
_QUIET_DRIFT = 1.05
"""Largest ratio between the medians of the first and of the last third of the rounds."""
_FEWEST_FOR_DRIFT = 3


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is known of a measurement beside its times.

    Attributes:
        known: What the caller knows of other load on the machine, or ``quiet``.
        outputs: What is wrong with the outputs, "" if nothing is.
        is_settled: Whether the times had become stable before they were noted.
        used_both_cores: Whether a network ran on both of two cores, which a host can move apart.
    """

    known: str
    outputs: str
    is_settled: bool
    used_both_cores: bool = False

    def verdict(self, turns: Sequence[Turn], threads: int, effort: Effort) -> str:
        """Returns ``quiet``, or everything that disturbed.

        Args:
            turns: The turns that were measured.
            threads: Threads that were used.
            effort: How long was to be measured.
        """
        return "; ".join(self._disturbances(turns, threads, effort)) or QUIET

    def _disturbances(self, turns: Sequence[Turn], threads: int, effort: Effort) -> Iterator[str]:
        if self.known != QUIET:
            yield self.known
        if self.outputs:
            yield self.outputs
        num_cores = len(usable_cores())
        if threads > num_cores:
            noun = "core" if num_cores == 1 else "cores"
            yield f"{threads} threads shared {num_cores} {noun}"
        others = _busy_cores(turns)
        if others > _QUIET_LOAD * num_cores:
            yield f"other processes kept {others:.1f} of {num_cores} cores busy"
        apart = _apart(turns) if self.used_both_cores else 0
        if apart:
            yield f"the cores shared no cache in {apart} of {len(turns)} rounds"
        if not self.is_settled:
            yield f"times did not settle in {effort.max_warm_s:g} s"
        times_ms = [time_ms for turn in turns for time_ms in turn.times_ms]
        spread = _spread(times_ms)
        if spread > _QUIET_SPREAD:
            yield f"the 90th percentile is {spread:.1f} times the median"
        drift = _drift(turns)
        if not 1 / _QUIET_DRIFT <= drift <= _QUIET_DRIFT:
            yield f"times drifted by {drift - 1:+.0%} from the first rounds to the last"
        if len(times_ms) < effort.min_runs:
            yield f"only {len(times_ms)} of at least {effort.min_runs} passes"


def _apart(turns: Sequence[Turn]) -> int:
    """Returns in how many rounds two cores were slow to hand data over to each other."""
    return sum(turn.probed is not None and turn.probed > SLOW_HANDOVER for turn in turns)


def _busy_cores(turns: Sequence[Turn]) -> float:
    elapsed_s = sum(turn.elapsed_s for turn in turns)
    return sum(turn.busy_cores * turn.elapsed_s for turn in turns) / max(elapsed_s, 1e-9)


def _spread(times_ms: Sequence[float]) -> float:
    if len(times_ms) == 1:
        return 1.0
    p90_ms = statistics.quantiles(times_ms, n=10, method="inclusive")[-1]
    return p90_ms / statistics.median(times_ms)


def _drift(turns: Sequence[Turn]) -> float:
    """Returns how many times as slow the last third of the rounds is as the first."""
    third = len(turns) // 3
    if len(turns) < _FEWEST_FOR_DRIFT:
        return 1.0
    first, last = (
        statistics.median(turn.p50_ms for turn in some) for some in (turns[:third], turns[-third:])
    )
    return last / first
