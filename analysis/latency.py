"""Latency of one network: a first measure, behind the interface that other runtimes will share."""

from __future__ import annotations

import os
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch
from torch import nn

from blocks import ImageSize
from networks import NetworkSpec

_MIN_RUNS = 20
_MIN_DURATION_S = 0.5
_MAX_DURATION_S = 10.0
_FEWEST_RUNS = 5
_MAX_RUNS = 1000
_NUM_WARM_RUNS = 3
_QUIET_LOAD = 0.1
"""Part of the processor that others may keep busy."""
_QUIET_SPREAD = 1.25
"""Largest ratio of the 90th percentile to the median."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long one forward pass takes, with everything it depends on.

    Attributes:
        runtime: What executed it.
        input: The image's size.
        batch: Images a pass.
        threads: Threads that the runtime may use.
        dtype: Number format of weights and activations.
        num_runs: Passes that were timed.
        p50_ms: Their median, in milliseconds.
        p90_ms: Their 90th percentile, in milliseconds.
        min_ms: The fastest, in milliseconds.
        verdict: ``quiet``, or what disturbed the measurement.
    """

    runtime: str
    input: ImageSize
    batch: int
    threads: int
    dtype: str
    num_runs: int
    p50_ms: float
    p90_ms: float
    min_ms: float
    verdict: str = "quiet"


class Runtime(ABC):
    """Executes networks; each runtime prepares a network once and then runs it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """How records and study files call it."""

    @abstractmethod
    def prepare(self, module: nn.Module, size: ImageSize, batch: int) -> Callable[[], object]:
        """Returns a call that makes one forward pass."""


class EagerRuntime(Runtime):
    """PyTorch without compilation, on the CPU, float32."""

    @property
    def name(self) -> str:
        """``eager``."""
        return "eager"

    def prepare(self, module: nn.Module, size: ImageSize, batch: int) -> Callable[[], object]:
        """Returns a pass under inference mode."""
        image = torch.randn(
            (batch, 3, size.height, size.width), generator=torch.Generator().manual_seed(0)
        )
        module.eval()

        def run() -> object:
            with torch.inference_mode():
                return module(image)

        return run


RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in (EagerRuntime(),)}
"""The runtimes that can measure."""


def measure_latency(
    spec: NetworkSpec,
    size: ImageSize,
    *,
    runtime: str = "eager",
    threads: int = 1,
    verdict: str = "quiet",
) -> Latency:
    """Measures the latency of a network with random weights, batch 1, float32.

    Warms until the runtime has seen the shapes, then times passes until there are enough of them
    and enough seconds have gone by. The verdict is ``quiet`` only if the caller knows of no other
    load, other processes left the processor alone, and the times lie close together.

    Args:
        spec: The network.
        size: The image's size.
        runtime: A name in ``RUNTIMES``.
        threads: Threads that PyTorch may use; restored afterwards.
        verdict: What the caller knows of other load on the machine.
    """
    with _threads(threads):
        run = RUNTIMES[runtime].prepare(spec.build(), size, 1)
        for _ in range(_NUM_WARM_RUNS):
            run()
        load = OtherLoad()
        times_ms = list(_timed(run))
        others = load.busy_cores()
    p50_ms = statistics.median(times_ms)
    p90_ms = statistics.quantiles(times_ms, n=10, method="inclusive")[-1]
    disturbances = [] if verdict == "quiet" else [verdict]
    if others > _QUIET_LOAD * load.num_cores:
        disturbances.append(f"other processes kept {others:.1f} of {load.num_cores} cores busy")
    if p90_ms > _QUIET_SPREAD * p50_ms:
        disturbances.append(f"the 90th percentile is {p90_ms / p50_ms:.1f} times the median")
    return Latency(
        runtime=runtime,
        input=size,
        batch=1,
        threads=threads,
        dtype="float32",
        num_runs=len(times_ms),
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        min_ms=min(times_ms),
        verdict="; ".join(disturbances) or "quiet",
    )


class OtherLoad:
    """How much other processes use the cores that this one may use, since it was made."""

    def __init__(self) -> None:
        self._cores = _usable_cores()
        self._at_start = self._read()

    @property
    def num_cores(self) -> int:
        """Cores that this process may use."""
        return len(self._cores)

    def busy_cores(self) -> float:
        """Returns how many cores' worth of time others have used."""
        all_s, own_s, clock_s = (
            now - then for now, then in zip(self._read(), self._at_start, strict=True)
        )
        return max(0.0, all_s - own_s) / max(clock_s, 1e-9)

    def _read(self) -> tuple[float, float, float]:
        per_core = psutil.cpu_times(percpu=True)
        # What a host takes from a virtual machine (steal) disturbs as well.
        names = ("user", "nice", "system", "irq", "softirq", "steal")
        busy_s = sum(getattr(per_core[core], name, 0.0) for core in self._cores for name in names)
        return busy_s, time.process_time(), time.perf_counter()


def _usable_cores() -> tuple[int, ...]:
    count = len(psutil.cpu_times(percpu=True))
    if not hasattr(os, "sched_getaffinity"):
        return tuple(range(count))
    return tuple(core for core in sorted(os.sched_getaffinity(0)) if core < count)


def _timed(run: Callable[[], object]) -> Iterator[float]:
    started = time.perf_counter()
    for count in range(1, _MAX_RUNS + 1):
        before = time.perf_counter()
        run()
        after = time.perf_counter()
        yield (after - before) * 1e3
        elapsed_s = after - started
        if count >= _MIN_RUNS and elapsed_s >= _MIN_DURATION_S:
            return
        if count >= _FEWEST_RUNS and elapsed_s >= _MAX_DURATION_S:
            return


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
