"""How fast this machine computes and moves bytes at best, and what a call costs."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from analysis.runtimes import RUNTIMES, Conditions
from analysis.runtimes.runtime import pytorch_threads
from blocks import ImageSize

_MATRIX = 1024
_SECONDS = 0.4
_FEWEST = 5
_LARGE_BYTES = 2**28
_SMALL_BYTES_A_THREAD = 2**18
_CHAIN = 64
_TINY = ImageSize(8, 8)
_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What a runtime can do at best on this machine, with some number of threads, in float32.

    Attributes:
        runtime: The runtime that ``launch_s`` is of.
        threads: Threads.
        macs_per_s: Multiply-accumulates a second of a product of 1024x1024 matrices in PyTorch.
        memory_bytes_per_s: Bytes read and written a second by a copy of 256 MiB.
        cache_bytes_per_s: The same by a copy of 256 KiB a thread, which stays in the caches.
        last_cache_bytes: Size of the last cache, None where the system does not tell.
        launch_s: Seconds of one more call of a layer that has nearly nothing to do.
    """

    runtime: str
    threads: int
    macs_per_s: float
    memory_bytes_per_s: float
    cache_bytes_per_s: float
    last_cache_bytes: int | None
    launch_s: float

    def bytes_per_s(self, working_set_bytes: int) -> float:
        """Returns the bandwidth for something that reads and writes so many bytes."""
        if self.last_cache_bytes is not None and working_set_bytes <= self.last_cache_bytes:
            return self.cache_bytes_per_s
        return self.memory_bytes_per_s


def measure_peaks(runtime: str, threads: int) -> Peaks:
    """Measures in about three seconds; each rate is the best of its runs.

    Args:
        runtime: A name in ``RUNTIMES`` of a runtime on the CPU.
        threads: Threads that it may use.

    Raises:
        UnusableRuntimeError: If the runtime is not here.
    """
    with pytorch_threads(threads), torch.inference_mode():
        matrix = torch.rand(_MATRIX, _MATRIX)
        product_s = _fastest_s(lambda: matrix @ matrix)
        large = _copy_s(_LARGE_BYTES)
        small_bytes = _SMALL_BYTES_A_THREAD * threads
        small = _copy_s(small_bytes)
    return Peaks(
        runtime=runtime,
        threads=threads,
        macs_per_s=_MATRIX**3 / product_s,
        memory_bytes_per_s=2 * _LARGE_BYTES / large,
        cache_bytes_per_s=2 * small_bytes / small,
        last_cache_bytes=_last_cache_bytes(),
        launch_s=_launch_s(runtime, threads),
    )


def _copy_s(size_bytes: int) -> float:
    source = torch.ones(size_bytes // _FLOAT_BYTES)
    target = torch.empty_like(source)
    return _fastest_s(lambda: target.copy_(source))


def _fastest_s(run: Callable[[], object]) -> float:
    run()
    return min(_timed(run))


def _timed(run: Callable[[], object]) -> Iterator[float]:
    started = time.perf_counter()
    count = 0
    while count < _FEWEST or time.perf_counter() - started < _SECONDS:
        before = time.perf_counter()
        run()
        yield time.perf_counter() - before
        count += 1


def _launch_s(runtime: str, threads: int) -> float:
    """Returns how much longer a chain takes for each layer by which it is longer."""
    conditions = Conditions(size=_TINY, threads=threads)
    seconds = []
    for length in (_CHAIN, 2 * _CHAIN):
        prepared = RUNTIMES[runtime].prepare(_chain(length), conditions)
        with prepared.turn():
            prepared.run()
            seconds.append(statistics.median(_timed(prepared.run)))
    return max(0.0, (seconds[1] - seconds[0]) / _CHAIN)


def _chain(length: int) -> nn.Module:
    """Makes 1x1 convolutions of 8x8 pixels and three channels, which nothing can fuse."""
    layers = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sigmoid()) for _ in range(length // 2)]
    return nn.Sequential(*layers).eval()


def _last_cache_bytes() -> int | None:
    """Returns what Linux says of the last cache of the first core."""
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [path.read_text(encoding="ascii").strip() for path in folder.glob("index*/size")]
    units = {"K": 2**10, "M": 2**20}
    known = [int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units]
    return max(known) if known and os.name == "posix" else None
