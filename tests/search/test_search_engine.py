"""Real worker processes: they train, fail, die and are replaced, and end with their search."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import psutil
import pytest

from analysis import timing
from analysis.records import Status
from networks import spec_to_dict
from search import Job, LocalEngine, load_search, run_search, runner, search_status
from search.engine import reason_of
from training import Hardware

PATIENCE_S = 120.0


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "this takes too long"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def engine():
    made = LocalEngine(1)
    yield made
    made.stop()


@pytest.fixture
def job(make_study, tmp_path):
    study = make_study(start=False)
    return Job(
        spec=spec_to_dict(study.space.base),
        task_name=study.task_name,
        task=study.task,
        data=None,
        input=study.input,
        schedule=study.schedule,
        seed=0,
        checkpoint=tmp_path / "last.ckpt",
        hardware=Hardware(accelerator="cpu"),
    )


def end_of(engine, key, job):
    engine.submit(key, job)
    (finished,) = until(lambda: engine.poll(1.0))
    assert finished.key == key
    assert engine.num_free == 1
    return finished


def processes(engine):
    return list(engine._workers[0].executor._processes)


def test_a_job_ends_with_a_score_under_its_protocol(engine, job):
    finished = end_of(engine, 0, job)
    assert finished.reason == ""
    assert finished.outcome.score.num_images == 16
    assert 0.0 <= finished.outcome.score.low <= finished.outcome.score.high <= 1.0
    assert [point.step for point in finished.outcome.curve] == [2]
    assert finished.outcome.elapsed_s > 0


def test_a_loss_that_is_no_number_is_the_reason(engine, job):
    finished = end_of(engine, 1, replace(job, schedule=replace(job.schedule, lr=1e30, steps=6)))
    assert finished.reason.startswith("the loss became ")
    assert not finished.is_user_error


def test_what_the_user_can_mend_is_told_from_what_is_wrong_with_one_network(engine, job, tmp_path):
    from tasks import CocoKeypoints

    missing = replace(job, task_name="coco_keypoints", task=CocoKeypoints(), data=tmp_path / "none")
    finished = end_of(engine, 2, missing)
    assert finished.is_user_error
    assert "none" in finished.reason
    finished = end_of(engine, 3, replace(job, spec={**job.spec, "head": {"kind": "tail"}}))
    assert not finished.is_user_error
    assert "head" in finished.reason


def test_a_worker_that_is_killed_fails_its_job_and_is_replaced(engine, job):
    endless = replace(job, schedule=replace(job.schedule, steps=20_000))
    engine.submit(4, endless)
    until(lambda: engine.progress()[4] > 0)
    assert engine.poll(0.0) == []
    with engine.quiet() as verdict:
        assert verdict == "quiet"
        before = engine.progress()[4]
        time.sleep(0.3)
        assert engine.progress()[4] == before
    (pid,) = processes(engine)
    os.kill(pid, signal.SIGKILL)
    (finished,) = until(lambda: engine.poll(1.0))
    assert finished.reason == "the training process was killed (out of memory, or from outside)"
    assert not finished.is_user_error
    assert end_of(engine, 5, replace(job, checkpoint=job.checkpoint.with_name("x"))).outcome


def test_a_worker_that_dies_without_a_job_is_replaced(engine, job):
    if not processes(engine):
        end_of(engine, 6, job)
    (pid,) = processes(engine)
    os.kill(pid, signal.SIGKILL)
    until(lambda: engine._workers[0].executor._broken)
    assert end_of(engine, 7, replace(job, checkpoint=job.checkpoint.with_name("y"))).outcome


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("x"), "out of memory: x"),
        (
            RuntimeError("CUDA out of memory. Tried\nmore"),
            "out of memory: CUDA out of memory. Tried",
        ),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError(), "ValueError: no message"),
    ],
)
def test_reasons_are_one_line(error, reason):
    assert reason_of(error) == reason


SEARCH = """
import sys
from pathlib import Path
from analysis.store import RunStore
from search import LocalEngine, load_search, run_search

if __name__ == "__main__":
    store = RunStore(Path(sys.argv[1]))
    def say(progress):
        if progress.running:
            print("running", flush=True)
    try:
        run_search(load_search("tiny", store), store, lambda: LocalEngine(2), say)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.fixture
def start(tmp_path, root, store):
    script = tmp_path / "script.py"
    script.write_text(SEARCH)
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    started = []

    def run():
        process = subprocess.Popen(
            [sys.executable, str(script), str(store.root)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_ctrl_c_and_kill_9_lose_nothing_and_leave_nothing(make_study, store, start, monkeypatch):
    make_study(trials=5, free='widths = [[8, 16], [12, 24], [16, 32]]\nblock = ["ccw", "basic"]')
    records = store.study_folder("tiny") / "records"

    process = start()
    assert process.stdout.readline() == "running\n"
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    out, noise = process.communicate(timeout=PATIENCE_S)
    assert (out.split()[-1], noise) == ("interrupted", "")
    assert not psutil.wait_procs(workers, timeout=20)[1]

    process = start()
    before = len(list(records.glob("*.json")))
    until(lambda: len(list(records.glob("*.json"))) > before)
    assert search_status("tiny", store)["state"] == "running"
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert not psutil.wait_procs(workers, timeout=20)[1]
    kept = {path: path.read_bytes() for path in records.glob("*.json")}
    assert len(kept) > before
    assert search_status("tiny", store)["state"] == "interrupted"

    monkeypatch.setattr(runner, "BRIEF", replace(timing.BRIEF, min_duration_s=0.0, max_warm_s=0.0))
    run_search(load_search("tiny", store), store, lambda: LocalEngine(1))
    assert all(path.read_bytes() == text for path, text in kept.items())
    own = [record for record in store.load("tiny").records if not record.reused_from]
    assert Counter(record.status for record in own) == {Status.TRAINED: 5}
    assert len({record.spec_id for record in own}) == 5
    assert all(record.latencies[0].runtime == "eager" for record in own)
    assert search_status("tiny", store)["state"] == "finished"
