"""The gate holds workers between two steps, and waits for none that hangs."""

import multiprocessing
import threading
import time

import pytest

from search.gate import Gate


class Worker(threading.Thread):
    """Does steps until it is told to stop; counts those that it began and ended."""

    def __init__(self, gate, step_s=0.002):
        super().__init__(daemon=True)
        self.gate, self.step_s = gate, step_s
        self.began = self.ended = 0
        self.stopping = threading.Event()

    def run(self):
        with self.gate.busy():
            while not self.stopping.is_set():
                with self.gate.step():
                    self.began += 1
                    time.sleep(self.step_s)
                    self.ended += 1

    def end(self):
        self.stopping.set()
        self.join(10)


@pytest.fixture
def gate():
    return Gate(multiprocessing.get_context("spawn"), patience_s=5.0)


def test_all_workers_stand_between_steps_while_it_is_quiet(gate):
    workers = [Worker(gate.admit()) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(5):
        time.sleep(0.02)
        with gate.quiet() as verdict:
            counts = [(worker.began, worker.ended) for worker in workers]
            assert all(began == ended for began, ended in counts)
            time.sleep(0.05)
            assert [(worker.began, worker.ended) for worker in workers] == counts
        assert verdict == "quiet"
    before = [worker.ended for worker in workers]
    time.sleep(0.1)
    assert all(worker.ended > count for worker, count in zip(workers, before, strict=True))
    for worker in workers:
        worker.end()


def test_a_worker_without_a_job_is_not_waited_for(gate):
    gate.admit()
    started = time.monotonic()
    with gate.quiet() as verdict:
        assert verdict == "quiet"
    assert time.monotonic() - started < 1


def test_a_worker_that_hangs_is_waited_for_once_and_reported():
    gate = Gate(multiprocessing.get_context("spawn"), patience_s=0.5)
    hung = gate.admit()
    hung.computing.acquire()
    for longest_s in (2.0, 0.4):
        started = time.monotonic()
        with gate.quiet() as verdict:
            assert verdict == "1 training process would not pause"
        assert time.monotonic() - started < longest_s
    gate.dismiss(hung)
    with gate.quiet() as verdict:
        assert verdict == "quiet"


def test_an_error_while_it_is_quiet_opens_the_gate_again(gate):
    worker = Worker(gate.admit())
    worker.start()
    with pytest.raises(KeyError), gate.quiet():
        raise KeyError
    before = worker.ended
    time.sleep(0.1)
    assert worker.ended > before
    worker.end()
