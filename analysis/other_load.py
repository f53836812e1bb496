"""What other processes do to the cores that a measurement runs on."""

from __future__ import annotations

import os
import time

import psutil


class OtherLoad:
    """How much other processes use the cores that this one may use, since it was made."""

    def __init__(self) -> None:
        self._cores = usable_cores()
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


def usable_cores() -> tuple[int, ...]:
    """Returns the numbers of the cores that this process may use."""
    count = len(psutil.cpu_times(percpu=True))
    if not hasattr(os, "sched_getaffinity"):
        return tuple(range(count))
    return tuple(core for core in sorted(os.sched_getaffinity(0)) if core < count)
