"""Measures random networks in a runtime, so that a predictor can be learned from them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from analysis.calibration_networks import ANCHOR, DrawnNetwork, draw_networks
from analysis.calibration_turns import AT_ONCE, MachineSpeed, fastest_ms, take_turns
from analysis.calibrations import FEWEST_NETWORKS, Calibration, CalibrationSample
from analysis.environment import current_environment
from analysis.execution import Executed, executed_from_row
from analysis.latency import random_module
from analysis.runtimes import RUNTIMES, Conditions, Observer, Prepared
from blocks import BranchworkError, ImageSize, Problem

if TYPE_CHECKING:
    from analysis.calibration_turns import Factors, Turn

_DTYPE = "float32"
_ANY_SIZE = ImageSize(32, 32)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network that had its turns.

    Attributes:
        network: The network.
        turns: How long it took in each, and what the machine's speed was.
        batch: The number of the batch that it took turns in.
        kernels: What was executed.
    """

    network: DrawnNetwork
    turns: tuple[Turn, ...]
    batch: int
    kernels: tuple[Executed, ...]

    def sample(self, speed: MachineSpeed, factors: Sequence[Factors]) -> CalibrationSample:
        """Returns what it takes at the machine's best.

        Args:
            speed: The machine's speed.
            factors: Those of every batch (``MachineSpeed.factors``).
        """
        time_ms, before_ms, again_ms = speed.times_ms(self.turns, factors[self.batch])
        return CalibrationSample(
            spec=self.network.spec,
            input=self.network.size,
            time_ms=time_ms,
            before_ms=before_ms,
            again_ms=again_ms,
            kernels=self.kernels,
        )


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
    """Measures random networks until no more fit into the time.

    With one thread, a pass takes the processor time of this process: what others do in between
    does not count. With more it is the time on the clock. Of a turn the fastest pass counts, as at
    the machine's best, and of all turns the middle one of the quieter half (``MachineSpeed``).
    Networks that take turns count as if ``ANCHOR`` had been as quick among them as it can be.

    Args:
        runtime: A name in ``RUNTIMES``, of the CPU.
        threads: Threads that it may use.
        minutes: How long is measured; ``AT_ONCE`` networks are in any case.
        most_networks: Networks after which it ends earlier.
        seed: What the networks are drawn from.
        blocks: The kinds of blocks that they have; none stands for all.
        on_progress: Is told which part is done, and what comes next.

    Raises:
        BranchworkError: If the runtime is not here, or too few networks could be measured.
    """
    RUNTIMES[runtime].check(Conditions(size=_ANY_SIZE, threads=threads, dtype=_DTYPE))
    started = time.monotonic()
    speed = MachineSpeed()
    measured: list[Measured] = []
    num_failed = 0
    anchor = prepare_drawn(ANCHOR, runtime, threads)
    networks = itertools.islice(draw_networks(seed, blocks), most_networks)

    limit_s = minutes * 60

    def tell() -> None:
        done = (time.monotonic() - started) / limit_s
        on_progress(min(1.0, done), f"{len(measured)} networks measured")

    try:
        while (elapsed_s := time.monotonic() - started) < limit_s:
            tried = len(measured) + num_failed
            # The last ones are as many as there is time for; few would not be measured for long.
            fitting = int(tried * (limit_s - elapsed_s) / elapsed_s) if tried else AT_ONCE
            if fitting < AT_ONCE // 2 and len(measured) >= FEWEST_NETWORKS:
                break
            batch = list(itertools.islice(networks, max(1, min(fitting, AT_ONCE))))
            if not batch:
                break
            ready = list(_prepared(batch, runtime, threads, tell))
            num_failed += len(batch) - len(ready)
            if ready:
                measured += measure_in_turns(ready, anchor, threads, speed, on_round=tell)
    except KeyboardInterrupt:
        if len(measured) < FEWEST_NETWORKS:
            raise
    # Not before all is measured is it known how fast the machine can be.
    factors = speed.factors()
    samples = [each.sample(speed, factors) for each in measured]
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
    ready: Sequence[tuple[DrawnNetwork, Prepared]],
    anchor: Prepared,
    threads: int,
    speed: MachineSpeed,
    *,
    on_round: Callable[[], None] = lambda: None,
) -> list[Measured]:
    """Measures networks that take turns.

    Args:
        ready: The networks.
        anchor: The network that takes turns among all of them.
        threads: Threads that they use.
        speed: The machine's speed.
        on_round: Is called whenever each had a turn.
    """
    observers = [prepared.observer() for _, prepared in ready]
    runs = [
        partial(_turn_ms, prepared, observer, threads)
        for (_, prepared), observer in zip(ready, observers, strict=True)
    ]
    batch = len(speed.anchors)
    turns = take_turns(runs, partial(_turn_ms, anchor, None, threads), speed, on_round)
    return [
        Measured(network=network, turns=tuple(taken), batch=batch, kernels=_executed(observer))
        for (network, _), observer, taken in zip(ready, observers, turns, strict=True)
    ]


def _prepared(
    batch: Sequence[DrawnNetwork], runtime: str, threads: int, on_network: Callable[[], None]
) -> Iterator[tuple[DrawnNetwork, Prepared]]:
    for network in batch:
        on_network()
        try:
            yield network, prepare_drawn(network, runtime, threads)
        except BranchworkError:
            # One that cannot be run is no reason not to measure the others; they are counted.
            continue


def _turn_ms(prepared: Prepared, observer: Observer | None, threads: int) -> float:
    """Returns the fastest of a few passes, and lets the profiler look at some more."""
    with prepared.turn():
        found = fastest_ms(prepared.run, threads)
        if observer is not None:
            observer.observe()
    return found


def _executed(observer: Observer | None) -> tuple[Executed, ...]:
    return () if observer is None else tuple(map(executed_from_row, observer.kernels()))
