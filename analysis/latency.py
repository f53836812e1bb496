"""Latency of one network: a first measure, behind the interface that other runtimes will share."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from blocks import ImageSize
from networks import NetworkSpec

_MIN_RUNS = 20
_MIN_DURATION_S = 0.5
_MAX_RUNS = 1000
_NUM_WARM_RUNS = 3


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
    and enough seconds have gone by.

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
        times_ms = list(_timed(run))
    ordered = sorted(times_ms)
    return Latency(
        runtime=runtime,
        input=size,
        batch=1,
        threads=threads,
        dtype="float32",
        num_runs=len(ordered),
        p50_ms=statistics.median(ordered),
        p90_ms=ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))],
        min_ms=ordered[0],
        verdict=verdict,
    )


def _timed(run: Callable[[], object]) -> Iterator[float]:
    started = time.perf_counter()
    for count in range(1, _MAX_RUNS + 1):
        before = time.perf_counter()
        run()
        after = time.perf_counter()
        yield (after - before) * 1e3
        if count >= _MIN_RUNS and after - started >= _MIN_DURATION_S:
            return


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
