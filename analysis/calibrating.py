"""Measures random networks in a runtime, so that a predictor can be learned from them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from analysis.calibration_networks import DrawnNetwork, draw_networks
from analysis.calibrations import FEWEST_NETWORKS, Calibration, CalibrationSample
from analysis.environment import current_environment
from analysis.latency import random_module
from analysis.runtimes import RUNTIMES, Conditions, Prepared
from blocks import BranchworkError, ImageSize, Problem

_AT_ONCE = 6
"""Networks that take turns: each is measured over half a minute, so that bad moments pass."""
_NUM_ROUNDS = 8
_TURN_S = 0.05
_RUNS_A_TURN = 4
_DTYPE = "float32"
_ANY_SIZE = ImageSize(32, 32)


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A network that takes its turns."""

    network: DrawnNetwork
    prepared: Prepared
    rounds_ms: list[float] = field(default_factory=list)


def calibrate(  # noqa: PLR0913 - its conditions
    runtime: str,
    *,
    threads: int = 1,
    minutes: float = 10.0,
    most_networks: int | None = None,
    seed: int = 0,
    blocks: Sequence[str] = (),
    on_progress: Callable[[float, str], None] = lambda _done, _text: None,
) -> Calibration:
    """Measures random networks until the time is over.

    With one thread, a pass takes the processor time of this process: what others do in between
    does not count. With more it is the time on the clock. Of all passes the fastest counts.

    Args:
        runtime: A name in ``RUNTIMES``, of the CPU.
        threads: Threads that it may use.
        minutes: How long is measured.
        most_networks: Networks after which it ends earlier.
        seed: What the networks are drawn from.
        blocks: The kinds of blocks that they have; none stands for all.
        on_progress: Is told which part is done, and what comes next.

    Raises:
        BranchworkError: If the runtime is not here, or too few networks could be measured.
    """
    RUNTIMES[runtime].check(Conditions(size=_ANY_SIZE, threads=threads, dtype=_DTYPE))
    started = time.monotonic()
    samples: list[CalibrationSample] = []
    num_failed = 0
    networks = itertools.islice(draw_networks(seed, blocks), most_networks)
    try:
        while (elapsed_s := time.monotonic() - started) < minutes * 60:
            on_progress(elapsed_s / (minutes * 60), f"{len(samples)} networks measured")
            batch = list(itertools.islice(networks, _AT_ONCE))
            if not batch:
                break
            ready = list(_prepared(batch, runtime, threads))
            num_failed += len(batch) - len(ready)
            samples += measure_in_turns(ready, threads)
    except KeyboardInterrupt:
        if len(samples) < FEWEST_NETWORKS:
            raise
    return calibration_of(samples, runtime, threads, num_failed)


def calibration_of(
    samples: Sequence[CalibrationSample], runtime: str, threads: int, num_failed: int
) -> Calibration:
    """Returns what was measured on this machine just now.

    Raises:
        BranchworkError: If these are too few networks.
    """
    check_enough(len(samples), runtime, num_failed)
    machine = current_environment()
    return Calibration(
        runtime=runtime,
        version=RUNTIMES[runtime].version,
        threads=threads,
        dtype=_DTYPE,
        machine=machine.cpu,
        num_cores=machine.num_cores,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        samples=tuple(samples),
        num_failed=num_failed,
    )


def check_enough(num_measured: int, runtime: str, num_failed: int) -> None:
    """Checks that something can be learned.

    Raises:
        BranchworkError: If not.
    """
    if num_measured < FEWEST_NETWORKS:
        raise BranchworkError(
            Problem(
                where=f"calibration of {runtime}",
                rule=f"at least {FEWEST_NETWORKS} networks are measured",
                got=f"{num_measured}, and {num_failed} that could not be run",
                do="give it more --minutes",
            )
        )


def prepare_drawn(network: DrawnNetwork, runtime: str, threads: int) -> Prepared:
    """Prepares a random network with random weights.

    Raises:
        BranchworkError: If the runtime cannot run it.
    """
    conditions = Conditions(size=network.size, threads=threads, dtype=_DTYPE)
    return RUNTIMES[runtime].prepare(random_module(network.spec), conditions)


def measure_in_turns(
    ready: Sequence[tuple[DrawnNetwork, Prepared]], threads: int
) -> list[CalibrationSample]:
    """Measures networks that take turns; each round goes through them the other way round."""
    waiting = [_Waiting(network=network, prepared=prepared) for network, prepared in ready]
    for number in range(_NUM_ROUNDS):
        for each in waiting[:: -1 if number % 2 else 1]:
            each.rounds_ms.append(_turn_ms(each.prepared, threads))
    return [_sample(each) for each in waiting]


def _prepared(
    batch: Sequence[DrawnNetwork], runtime: str, threads: int
) -> Iterator[tuple[DrawnNetwork, Prepared]]:
    for network in batch:
        try:
            yield network, prepare_drawn(network, runtime, threads)
        except BranchworkError:
            # One that cannot be run is no reason not to measure the others; they are counted.
            continue


def _turn_ms(prepared: Prepared, threads: int) -> float:
    """Returns the fastest of a few passes."""
    clock = time.process_time if threads == 1 else time.perf_counter
    times_s: list[float] = []
    with prepared.turn():
        # The neighbour's data are in the caches still.
        prepared.run()
        started = time.perf_counter()
        while len(times_s) < _RUNS_A_TURN or time.perf_counter() - started < _TURN_S:
            before = clock()
            prepared.run()
            times_s.append(clock() - before)
    return min(times_s) * 1e3


def _sample(each: _Waiting) -> CalibrationSample:
    # Neighbouring rounds go to different halves, so that both see the same weather.
    before_ms, again_ms = min(each.rounds_ms[::2]), min(each.rounds_ms[1::2])
    return CalibrationSample(
        spec=each.network.spec,
        input=each.network.size,
        time_ms=min(before_ms, again_ms),
        before_ms=before_ms,
        again_ms=again_ms,
        # Profilers count microseconds.
        layer_times_ms={
            name: round(ms, 5) for name, ms in (each.prepared.layer_times_ms() or {}).items()
        },
    )
