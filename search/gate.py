"""The gate between training processes and whoever needs the machine quiet for a moment.

A latency means nothing while another process trains on the next core. A worker with a job holds
its lock but between two steps; ``Gate.quiet`` waits until all of them stand there and holds them.
A worker that does not come in time, or died with its lock, is reported and not waited for again.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Lock

_POLL_S = 0.01
_PATIENCE_S = 30.0
_SHORT_PATIENCE_S = 0.1


class WorkerGate:
    """One worker's side: it can be inherited by a spawned process.

    Args:
        closed: Not 0 while somebody needs quiet. It has no lock: a worker that is killed while it
            holds one would hold it for ever.
        computing: Held by the worker while it computes.
    """

    def __init__(self, closed: ctypes.c_byte, computing: Lock) -> None:
        self._closed = closed
        self.computing = computing

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Is the context of a whole job."""
        self._pass()
        try:
            yield
        finally:
            self.computing.release()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Is the context of one step of a job; it begins when the gate is open."""
        self.computing.release()
        self._pass()
        yield

    def _pass(self) -> None:
        while self._closed.value:
            time.sleep(_POLL_S)
        self.computing.acquire()


class Gate:
    """The side of whoever needs quiet.

    Args:
        context: The context in which workers are spawned.
        patience_s: How long workers are waited for, all together.
    """

    def __init__(self, context: SpawnContext, patience_s: float = _PATIENCE_S) -> None:
        self._context = context
        self._patience_s = patience_s
        self._closed = context.RawValue(ctypes.c_byte, 0)
        self._gates: list[WorkerGate] = []
        self._stalled: set[WorkerGate] = set()

    def admit(self) -> WorkerGate:
        """Returns a new worker's side."""
        gate = WorkerGate(self._closed, self._context.Lock())
        self._gates.append(gate)
        return gate

    def dismiss(self, gate: WorkerGate) -> None:
        """Forgets a worker that died, perhaps in the middle of a step."""
        self._gates.remove(gate)
        self._stalled.discard(gate)

    @contextmanager
    def quiet(self) -> Iterator[str]:
        """Holds all workers between two steps.

        Yields:
            ``quiet``, or what is known to disturb.
        """
        self._closed.value = 1
        held: list[Lock] = []
        try:
            self._hold(held)
            missing = len(self._gates) - len(held)
            noun = "process" if missing == 1 else "processes"
            yield f"{missing} training {noun} would not pause" if missing else "quiet"
        finally:
            self._closed.value = 0
            for lock in held:
                lock.release()

    def _hold(self, held: list[Lock]) -> None:
        deadline = time.monotonic() + self._patience_s
        for gate in self._gates:
            left = max(_SHORT_PATIENCE_S, deadline - time.monotonic())
            patience_s = _SHORT_PATIENCE_S if gate in self._stalled else left
            if gate.computing.acquire(timeout=patience_s):
                held.append(gate.computing)
                self._stalled.discard(gate)
            else:
                self._stalled.add(gate)
