"""How fast threads hand data over to each other, which a virtual machine's host can change."""

from __future__ import annotations

import time

import torch

from analysis.runtimes.runtime import pytorch_threads

SLOW_HANDOVER = 2.0
"""A slowdown above which two cores share no cache.

Where they do, it is 0.8 to 1.3; where they do not, 2.7 to 3.4, and a pass of Lite-HRNet-18 in
OpenVINO takes 14.6 ms in place of 6.8 (AMD EPYC).
"""
_THREADS = 2
_NUMBERS = 2**17
_TIMES = 60
"""The first of them find cold caches and threads that sleep."""


def handover_slowdown() -> float:
    """Measures how many times as long two threads take for each other's data as one for its own.

    They turn a vector round twice, so each reads what the other wrote. It takes ten milliseconds.
    A host that moves a virtual machine's cores apart shows in it and in nothing else: they are
    as fast as before, and nobody else uses them.
    """
    vector = torch.zeros(_NUMBERS)
    with torch.inference_mode():
        return _fastest_s(vector, _THREADS) / _fastest_s(vector, 1)


def _fastest_s(vector: torch.Tensor, threads: int) -> float:
    with pytorch_threads(threads):
        return min(_turned_s(vector) for _ in range(_TIMES))


def _turned_s(vector: torch.Tensor) -> float:
    started = time.perf_counter()
    vector.flip(0).flip(0)
    return time.perf_counter() - started
