"""Engines: where a search's jobs run. One process a worker, one thread each.

Each worker is an executor of its own with a single process: a worker that is killed (out of
memory, by hand) takes down its own job and nothing else.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from blocks import BranchworkError, SpecError, load_block_folder
from search.gate import Gate, WorkerGate
from search.trial import Job, Outcome, run_job
from training import DivergedError, StepReport

_PARENT_POLL_S = 0.2
_NO_MEMORY = re.compile("out of memory|can't allocate memory", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job that ended.

    Attributes:
        key: The key under which it was submitted.
        outcome: What it gave, None if it failed.
        reason: Why it failed, "" otherwise.
        is_user_error: Whether it failed by something that the user can mend (data, settings), so
            that the next one would fail alike.
    """

    key: int
    outcome: Outcome | None
    reason: str = ""
    is_user_error: bool = False


class Engine(ABC):
    """Runs jobs somewhere, several at once."""

    @property
    @abstractmethod
    def num_free(self) -> int:
        """How many more jobs can start now."""

    @abstractmethod
    def submit(self, key: int, job: Job) -> None:
        """Starts a job under a key of the caller's."""

    @abstractmethod
    def poll(self, timeout_s: float) -> list[Finished]:
        """Waits for jobs to end, at most so long, and returns those that did."""

    @abstractmethod
    def progress(self) -> dict[int, float]:
        """Returns the part done of every running job, by key, from 0 to 1."""

    @abstractmethod
    def quiet(self) -> AbstractContextManager[str]:
        """Gives a context in which no job computes, and what is known to disturb it still."""

    @abstractmethod
    def stop(self) -> None:
        """Ends all jobs at once; what they had not finished is left to their checkpoints."""


class LocalEngine(Engine):
    """Worker processes on this machine.

    Args:
        num_workers: How many.
        block_folders: Folders of blocks that each worker loads.
    """

    def __init__(self, num_workers: int, block_folders: tuple[Path, ...] = ()) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._gate = Gate(self._context)
        self._block_folders = block_folders
        self._workers = [self._new_worker() for _ in range(num_workers)]

    @property
    def num_free(self) -> int:
        """Workers without a job."""
        return sum(worker.future is None for worker in self._workers)

    def submit(self, key: int, job: Job) -> None:
        """Gives a job to a free worker, replacing one that died while it had none."""
        index = next(i for i, worker in enumerate(self._workers) if worker.future is None)
        try:
            future = self._workers[index].start(job)
        except BrokenProcessPool:
            self._replace(index)
            future = self._workers[index].start(job)
        self._workers[index].key = key
        self._workers[index].future = future

    def poll(self, timeout_s: float) -> list[Finished]:
        """Waits for workers, replacing those that died."""
        futures = [w.future for w in self._workers if w.future is not None]
        if not futures:
            return []
        done, _ = wait(futures, timeout=timeout_s, return_when=FIRST_COMPLETED)
        finished = []
        for index, worker in enumerate(self._workers):
            future = worker.future
            if future is None or future not in done:
                continue
            finished.append(_finished(worker.key, future))
            worker.future = None
            if isinstance(future.exception(), BrokenProcessPool):
                self._replace(index)
        return finished

    def progress(self) -> dict[int, float]:
        """Returns what the workers report."""
        return {w.key: w.done.value for w in self._workers if w.future is not None}

    @contextmanager
    def quiet(self) -> Iterator[str]:
        """Holds all workers between two steps."""
        with self._gate.quiet() as verdict:
            yield verdict

    def stop(self) -> None:
        """Kills the workers."""
        for worker in self._workers:
            for process in list(getattr(worker.executor, "_processes", None) or {}):
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            worker.executor.shutdown(wait=True, cancel_futures=True)

    def _replace(self, index: int) -> None:
        dead = self._workers[index]
        dead.executor.shutdown(wait=False)
        self._gate.dismiss(dead.gate)
        self._workers[index] = self._new_worker()

    def _new_worker(self) -> _Worker:
        gate = self._gate.admit()
        # Without a lock: a worker that is killed while it holds one would hold it for ever.
        done = self._context.RawValue(ctypes.c_double, 0.0)
        executor = ProcessPoolExecutor(
            max_workers=1,
            mp_context=self._context,
            initializer=_start_worker,
            initargs=(os.getpid(), gate, done, self._block_folders),
        )
        return _Worker(executor=executor, gate=gate, done=done)


@dataclass
class _Worker:
    executor: ProcessPoolExecutor
    gate: WorkerGate
    done: ctypes.c_double
    key: int = -1
    future: Future[Outcome] | None = None

    def start(self, job: Job) -> Future[Outcome]:
        self.done.value = 0.0
        with _no_interrupts():
            return self.executor.submit(_run, job)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Starts processes deaf to Ctrl-C, which a terminal sends to every process.

    It is the coordinator's to handle; here it comes a moment later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _finished(key: int, future: Future[Outcome]) -> Finished:
    error = future.exception()
    if error is None:
        return Finished(key=key, outcome=future.result())
    # A network that cannot be built says nothing of the next one.
    is_user_error = isinstance(error, BranchworkError) and not isinstance(error, SpecError)
    return Finished(key=key, outcome=None, reason=reason_of(error), is_user_error=is_user_error)


def reason_of(error: BaseException) -> str:
    """Says on one line why a trial failed."""
    if isinstance(error, BrokenProcessPool):
        return "the training process was killed (out of memory, or from outside)"
    first_line = (str(error).strip() or "no message").splitlines()[0]
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return f"out of memory: {first_line}"
    if isinstance(error, BranchworkError | DivergedError):
        return first_line
    return f"{type(error).__name__}: {first_line}"


class _WorkerState:
    """What a worker process is given when it starts."""

    gate: WorkerGate
    done: ctypes.c_double
    block_folders: tuple[Path, ...]


def _start_worker(
    parent: int, gate: WorkerGate, done: ctypes.c_double, block_folders: tuple[Path, ...]
) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _WorkerState.gate = gate
    _WorkerState.done = done
    _WorkerState.block_folders = block_folders
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process soon after its coordinator, however that one ended."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os._exit(1)


def _run(job: Job) -> Outcome:
    def report(step: StepReport) -> None:
        _WorkerState.done.value = step.step / step.num_steps

    with _WorkerState.gate.busy():
        for folder in _WorkerState.block_folders:
            load_block_folder(folder)
        return run_job(job, on_step=report, pace=_WorkerState.gate.step)
