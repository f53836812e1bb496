"""A search goes on from wherever it was cut off, and only with what it began with."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from fake_engine import FakeEngine
from optuna.trial import TrialState
from tiny_study import statuses, trials

from analysis.records import Status
from blocks import StudyError
from search import load_search, run_search, search_status, start_search
from search.journal import JOURNAL_FILE, Journal
from search.ledger import Ledger

pytestmark = pytest.mark.usefixtures("quick_latency")


class Interrupted(FakeEngine):
    """Is cut off at some poll, as by Ctrl-C."""

    def __init__(self, after):
        super().__init__(num_workers=2)
        self._left = after

    def poll(self, timeout_s):
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return super().poll(timeout_s)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_after_ctrl_c_a_search_goes_on_with_what_was_running(make_study, store, after):
    study, engine = make_study(trials=6), Interrupted(after)
    with pytest.raises(KeyboardInterrupt):
        run_search(study, store, lambda: engine)
    assert engine.stopped
    done = statuses(store)["trained"]
    assert done == 2 * after
    assert search_status("tiny", store)["state"] == "interrupted"
    again = FakeEngine(num_workers=2)
    run_search(load_search("tiny", store), store, lambda: again)
    assert len(again.submitted) == 6 - done
    assert again.submitted[:2] == engine.submitted[-2:]
    assert statuses(store)["trained"] == 6


def cut_off(store, monkeypatch, study, at):
    """Runs a search that dies after so many records, before Optuna is told of the last."""
    left = iter(range(at))
    write = type(store).write

    def write_and_die(self, record):
        path = write(self, record)
        if next(left, None) is None:
            raise KeyboardInterrupt
        return path

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "write", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            run_search(study, store, FakeEngine)


@pytest.mark.parametrize("limits", ["", "macs = 500e3"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_record_that_optuna_was_not_told_of_is_told_later(
    make_study, store, monkeypatch, limits, at
):
    study = make_study(trials=3, limits=limits)
    cut_off(store, monkeypatch, study, at)
    before = {record.record_id for record in store.load("tiny").records}
    assert trials(store)[at].state is TrialState.RUNNING
    run_search(replace(study, trials=4), store, FakeEngine)
    states = {trial.number: trial.state for trial in trials(store)}
    records = store.load("tiny").records
    assert before < {record.record_id for record in records}
    for record in records:
        expected = TrialState.PRUNED if record.status is Status.INFEASIBLE else TrialState.COMPLETE
        assert states[record.trial] is expected
    assert TrialState.RUNNING not in states.values()


def test_a_trial_that_was_half_told_is_told_whole(make_study, store, monkeypatch):
    study = make_study(trials=6, limits="macs = 500e3")
    tell = optuna.Study.tell

    def die(self, number, values=None, *, state=None):
        if state is TrialState.PRUNED:
            raise KeyboardInterrupt
        return tell(self, number, values, state=state)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", die)
        with pytest.raises(KeyboardInterrupt):
            run_search(study, store, FakeEngine)
    (half,) = [trial for trial in trials(store) if trial.state is TrialState.RUNNING]
    assert half.constraints["limits"] > 0
    run_search(study, store, FakeEngine)
    whole = trials(store)[half.number]
    assert (whole.state, whole.constraints) == (TrialState.PRUNED, half.constraints)


def test_a_sampler_that_goes_on_does_not_draw_again_what_it_drew_first(make_study, store):
    widths = [[8, 2 * n] for n in range(4, 64)]
    study = make_study(trials=3, sampler="random", free=f"widths = {widths}")
    run_search(study, store, FakeEngine)
    run_search(replace(study, trials=6), store, FakeEngine)
    assert statuses(store) == {"trained": 6}


@pytest.fixture
def searched(make_study, store):
    """A study of three networks, its journal and what its records say."""
    study = make_study(trials=3)
    run_search(study, store, FakeEngine)
    return study, store.study_folder("tiny") / JOURNAL_FILE


def all_is_told(store):
    told, records = trials(store), store.load("tiny").records
    assert [trial.number for trial in told] == [record.trial for record in records]
    for trial, record in zip(told, records, strict=True):
        assert trial.values == [record.score.value, record.cost.macs]


def test_a_journal_whose_last_line_is_torn_at_any_byte_is_mended(searched, store):
    study, journal = searched
    whole = journal.read_bytes()
    last_line = whole.rstrip(b"\n").rfind(b"\n") + 1
    for size in range(last_line, len(whole)):
        journal.write_bytes(whole[:size])
        Journal(study, journal.parent, Ledger(study, store).by_trial)
        all_is_told(store)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_journal_that_lost_more_than_a_line_is_made_anew(searched, store, part):
    study, journal = searched
    whole = journal.read_bytes()
    journal.write_bytes(whole[: int(part * len(whole))])
    engine = FakeEngine()
    run_search(replace(study, trials=4), store, lambda: engine)
    assert len(engine.submitted) == 1
    all_is_told(store)


@pytest.mark.parametrize("where", [0.5, 1.0])
@pytest.mark.parametrize("garbage", [b"\x00\x00\x00", b'{"op_code": 4,', b"rubbish\n", b"[]\n"])
def test_garbage_in_the_journal_is_cut_off(searched, store, garbage, where):
    study, journal = searched
    lines = journal.read_bytes().splitlines(keepends=True)
    lines.insert(int(where * len(lines)), garbage)
    journal.write_bytes(b"".join(lines))
    run_search(replace(study, trials=4), store, FakeEngine)
    all_is_told(store)


def test_what_a_killed_process_left_behind_is_in_nobody_s_way(
    make_study, store, tmp_path, monkeypatch
):
    study = make_study(trials=3)
    run_search(replace(study, trials=2), store, FakeEngine)
    folder = store.study_folder("tiny")
    # Optuna's lock is a link that dangles where the path is relative: it would be waited for.
    monkeypatch.chdir(tmp_path)
    (folder / f"{JOURNAL_FILE}.lock").symlink_to(Path("runs/tiny") / JOURNAL_FILE)
    (folder / f"{JOURNAL_FILE}.lock1.rename").write_text("")
    (folder / ".search.lock").write_text("")
    (folder / ".study.toml.tmp").write_text("[stu")
    (folder / "records" / ".00007-abc.12.tmp").write_text("{")
    done = store.load("tiny").records[0]
    stale = folder / "checkpoints" / f"{done.spec_id}-{done.score.protocol_id}"
    stale.mkdir(parents=True)
    run_search(load_search("tiny", store), type(store)(Path("runs")), FakeEngine)
    assert statuses(store)["trained"] == 3
    assert store.load("tiny").broken == ()
    assert not stale.exists()


def test_a_study_is_searched_by_one_process_at_a_time(make_study, store, monkeypatch):
    from search import lock

    monkeypatch.setattr(lock, "_PATIENCE_S", 0.05)
    study = make_study()
    with lock.study_lock(store.study_folder("tiny")):
        assert search_status("tiny", store)["state"] == "running"
        with pytest.raises(StudyError, match="one process at a time"):
            run_search(study, store, FakeEngine)
    assert search_status("tiny", store)["state"] == "interrupted"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('"ccw"', '"basic"', "free.block"),
        ("score", "score.mean_oks", "study.objectives"),
        ('input = "64x64"', 'input = "64x96"', "study.input"),
        ("steps = 2", "steps = 3", "study.schedule"),
        ("num_val = 16", "num_val = 17", "task"),
        ("seed = 0", "seed = 1", "study.seed"),
        ('"ccw",', '"ccw", "basic",', "free.block"),
    ],
)
def test_a_resolved_study_that_was_changed_is_not_gone_on_with(make_study, store, old, new, part):
    run_search(make_study(trials=1), store, FakeEngine)
    path = store.study_folder("tiny") / "study.toml"
    text = path.read_text().replace("trials = 1", "trials = 2")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    before = {p: p.read_bytes() for p in (path.parent / "records").iterdir()}
    with pytest.raises(StudyError, match=r"keeps its networks|under one protocol") as caught:
        run_search(load_search("tiny", store), store, lambda: pytest.fail("no engine"))
    assert part in str(caught.value) or "protocol" in str(caught.value)
    assert {p: p.read_bytes() for p in (path.parent / "records").iterdir()} == before


def test_a_study_whose_journal_is_gone_still_knows_its_choices(make_study, store):
    run_search(make_study(trials=1, free='block = ["ccw"]'), store, FakeEngine)
    folder = store.study_folder("tiny")
    (folder / JOURNAL_FILE).unlink()
    changed = replace(make_study(start=False, free='block = ["basic"]'), trials=2)
    with pytest.raises(StudyError, match="other choices than those of 00000-"):
        run_search(changed, store, FakeEngine)


def test_other_data_under_the_same_study_are_refused(make_study, store):
    study = make_study(trials=1)
    run_search(study, store, FakeEngine)
    moved = replace(study, trials=2, task=replace(study.task, seed=5))
    with pytest.raises(StudyError, match="all scores of a study stand under one protocol"):
        run_search(moved, store, lambda: pytest.fail("no engine"))


def test_data_may_move(make_study, store, tmp_path):
    study = replace(make_study(start=False, trials=1), data=tmp_path / "here")
    start_search(study, store)
    run_search(study, store, FakeEngine)
    (tmp_path / "here").rename(tmp_path / "there")
    moved = load_search("tiny", store, data=tmp_path / "there")
    engine = FakeEngine()
    run_search(replace(moved, trials=2), store, lambda: engine)
    assert engine.submitted[0].data == tmp_path / "there"
    assert not (tmp_path / "here").exists()
