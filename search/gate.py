"""The gate between training processes and whoever needs the machine quiet for a moment.

A latency means nothing while another process trains on the next core. Workers do every step
inside ``Gate.step``; ``Gate.quiet`` waits until all of them stand between two steps and holds
them there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Event, Lock

_POLL_S = 0.01
_PATIENCE_S = 60.0


class WorkerGate:
    """One worker's side: it can be inherited by a spawned process.

    Args:
        closed: Set while somebody needs quiet.
        stepping: Held by the worker during a step.
    """

    def __init__(self, closed: Event, stepping: Lock) -> None:
        self._closed = closed
        self.stepping = stepping

    @contextmanager
    def step(self) -> Iterator[None]:
        """Lets one step pass, when the gate is open."""
        while self._closed.is_set():
            time.sleep(_POLL_S)
        with self.stepping:
            yield


class Gate:
    """The side of whoever needs quiet.

    Args:
        context: The context in which workers are spawned.
    """

    def __init__(self, context: SpawnContext) -> None:
        self._context = context
        self._closed = context.Event()
        self._gates: list[WorkerGate] = []

    def admit(self) -> WorkerGate:
        """Returns a new worker's side."""
        gate = WorkerGate(self._closed, self._context.Lock())
        self._gates.append(gate)
        return gate

    def dismiss(self, gate: WorkerGate) -> None:
        """Forgets a worker that died, perhaps in the middle of a step."""
        self._gates.remove(gate)

    @contextmanager
    def quiet(self) -> Iterator[str]:
        """Holds all workers between two steps.

        Yields:
            ``quiet``, or what is known to disturb.
        """
        self._closed.set()
        held: Sequence[Lock] = []
        try:
            held = self._wait()
            missing = len(self._gates) - len(held)
            yield "quiet" if not missing else f"{missing} training processes would not pause"
        finally:
            self._closed.clear()
            for lock in held:
                lock.release()

    def _wait(self) -> list[Lock]:
        deadline = time.monotonic() + _PATIENCE_S
        held = []
        for gate in self._gates:
            left = max(0.0, deadline - time.monotonic())
            if gate.stepping.acquire(timeout=left):
                held.append(gate.stepping)
        return held
