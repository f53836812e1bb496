"""How fast threads hand data over to each other, which a virtual machine's host can change."""

from __future__ import annotations

import time

import torch

from analysis.runtimes.runtime import pytorch_threads

SLOW_HANDOVER = 2.0
"""A slowdown above which threads do not share a cache.

Where two cores do, it is 0.9 to 1.5; where they do not, 3.1 to 3.9, and a pass of Lite-HRNet-18 in
OpenVINO takes 14.6 ms in place of 6.8 (AMD EPYC).
"""
_NUMBERS = 2**16
"""Two threads' worth: PyTorch gives one 32,768 numbers at least."""
_TIMES = 20


def handover_slowdown(threads: int) -> float:
    """Measures how many times as long threads take for each other's data as one for its own.

    They turn a vector round twice, so each reads what another has written. It takes milliseconds.
    A host that moves a virtual machine's cores apart shows in it and in nothing else: they are
    as fast as before, and nobody else uses them.

    Args:
        threads: Threads, two at least.
    """
    vector = torch.zeros(_NUMBERS)
    with torch.inference_mode():
        return _fastest_s(vector, threads) / _fastest_s(vector, 1)


def _fastest_s(vector: torch.Tensor, threads: int) -> float:
    with pytorch_threads(threads):
        return min(_turned_s(vector) for _ in range(_TIMES))


def _turned_s(vector: torch.Tensor) -> float:
    started = time.perf_counter()
    vector.flip(0).flip(0)
    return time.perf_counter() - started
