"""A search tries networks, rules out, repeats, and keeps every record."""

import json
from dataclasses import replace

import pytest
from fake_engine import FakeEngine, outcome, score_of
from optuna.trial import TrialState
from tiny_study import FREE, statuses, trials

from analysis.latency import RUNTIMES
from analysis.records import Status
from blocks import BranchworkError, DataError, ImageSize, Problem, StudyError
from search import (
    Finished,
    load_search,
    read_study,
    run_search,
    runner,
    search_status,
    start_search,
)

pytestmark = pytest.mark.usefixtures("quick_latency")


def test_a_search_tries_as_many_different_networks_as_asked(make_study, store):
    study, engine, seen = make_study(trials=4), FakeEngine(num_workers=2), []
    run_search(study, store, lambda: engine, seen.append)
    records = store.load("tiny").records
    trained = [record for record in records if not record.reused_from]
    assert len(trained) == len({record.spec_id for record in records}) == 4
    assert len(engine.submitted) == 4
    assert engine.stopped
    assert engine.num_quiet == 4
    assert {record.trial for record in records} == set(range(len(records)))
    for record in trained:
        assert record.status is Status.TRAINED
        assert record.cost.macs > 0
        assert record.latencies[0].p50_ms > 0
        assert record.score.value == record.curve[-1].score
        assert record.choices.keys() == {"widths", "block"}
    assert seen[-1].num_done == seen[-1].num_trials == 4
    assert seen[-1].best.score.value == max(record.score.value for record in trained)
    assert not (store.study_folder("tiny") / "checkpoints").exists()


def test_the_sampler_is_told_every_value(make_study, store):
    run_search(make_study(), store, FakeEngine)
    told = {trial.number: trial for trial in trials(store)}
    for record in store.load("tiny").records:
        trial = told[record.trial]
        assert trial.state is TrialState.COMPLETE
        assert trial.values == [record.score.value, record.cost.macs]
        assert {key: json.loads(value) for key, value in trial.params.items()} == record.choices


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_space_that_is_tried_out_ends_the_search_with_a_message(make_study, store, sampler):
    study, seen = make_study(trials=50, sampler=sampler), []
    run_search(study, store, lambda: FakeEngine(num_workers=3), seen.append)
    assert seen[-1].message == "every network of the space that fits has been tried"
    assert seen[-1].num_done == study.space.size == 6
    status = search_status("tiny", store)
    assert (status["state"], status["num_trained"]) == ("finished", 6)
    assert status["message"] == seen[-1].message


def test_a_finished_search_does_nothing_more(make_study, store):
    study = make_study(trials=2)
    run_search(study, store, FakeEngine)
    before = len(store.load("tiny").records)
    run_search(study, store, lambda: pytest.fail("no engine is needed"))
    assert len(store.load("tiny").records) == before


def test_more_trials_can_be_asked_for_later(make_study, store):
    study = make_study(trials=2)
    run_search(study, store, FakeEngine)
    engine = FakeEngine()
    run_search(replace(study, trials=5), store, lambda: engine)
    assert len(engine.submitted) == 3
    assert len({record.spec_id for record in store.load("tiny").records}) == 5


def test_networks_over_a_limit_are_ruled_out_before_they_are_built(make_study, store, monkeypatch):
    study = make_study(trials=50, limits="macs = 600e3\nparams = 3000")
    built = []
    measure = runner.measure_latency
    monkeypatch.setattr(
        runner,
        "measure_latency",
        lambda spec, *a, **k: built.append(spec) or measure(spec, *a, **k),
    )
    run_search(study, store, FakeEngine)
    records = store.load("tiny").records
    over = [r for r in records if r.status is Status.INFEASIBLE]
    fit = [r for r in records if r.status is Status.TRAINED]
    assert over
    assert all(r.cost.macs > 600e3 or r.cost.params > 3000 for r in over)
    assert all(r.cost.macs <= 600e3 and r.cost.params <= 3000 for r in fit)
    assert all(r.latencies == () and "is over the limit" in r.reason for r in over)
    assert len(built) == len({r.spec_id for r in fit}) < study.space.size
    told = {trial.number: trial for trial in trials(store)}
    for record in over:
        assert told[record.trial].state is TrialState.PRUNED
        excess = record.cost.macs / 600e3 - 1
        assert told[record.trial].constraints["limits"] == pytest.approx(
            max(0, excess) + max(0, record.cost.params / 3000 - 1)
        )
    assert sum(not r.reused_from for r in over) == len({r.spec_id for r in over})


def test_a_limit_that_rules_everything_out_is_one_line(make_study, store):
    study = make_study(limits="macs = 1000")
    with pytest.raises(StudyError, match=r"some network of the space fits .* is over the limit"):
        run_search(study, store, lambda: pytest.fail("no engine is needed"))
    assert store.load("tiny").records == ()


def test_an_input_that_fits_no_network_is_one_line(make_study, store):
    study = replace(make_study(), input=ImageSize(100, 64))
    with pytest.raises(StudyError, match="multiples of the coarsest stride, 8, got 100x64"):
        run_search(study, store, lambda: pytest.fail("no engine is needed"))


def test_a_limit_on_latency_ends_too(make_study, store):
    study = make_study(
        trials=50, limits="latency.eager = 10", study='objectives = ["score", "latency.eager"]'
    )
    engine = FakeEngine()
    run_search(study, store, lambda: engine)
    records = store.load("tiny").records
    over = [r for r in records if r.status is Status.INFEASIBLE and not r.reused_from]
    assert {r.latencies[0].p50_ms for r in over} == {12.0, 16.0}
    assert len(over) == 4 == len({r.spec_id for r in over})
    assert len(engine.submitted) == 2
    assert engine.num_quiet == 6
    assert "latency.eager 12.00 ms is over the limit 10 ms" in {r.reason for r in over}


def test_latency_can_be_an_objective_without_any_training(make_study, store):
    study = make_study(trials=6, study='objectives = ["latency.eager", "params"]')
    engine = FakeEngine()
    run_search(study, store, lambda: engine)
    assert engine.submitted == []
    own = [r for r in store.load("tiny").records if not r.reused_from]
    assert {r.status for r in own} == {Status.PROFILED}
    status = search_status("tiny", store)
    assert status["num_profiled"] == 6
    assert [row["latency.eager"] for row in status["front"]] == [8.0]
    assert "1 thread, batch 1, float32" in status["front"][0]["latency_conditions"]["latency.eager"]


def test_a_failed_network_is_recorded_and_the_search_goes_on(make_study, store):
    def finish(key, job):
        if score_of(job) > 0.4:
            return Finished(key=key, outcome=None, reason="the loss became nan at step 1 of 2")
        return Finished(key=key, outcome=outcome(job, 0.1))

    seen = []
    run_search(make_study(trials=6), store, lambda: FakeEngine(finish), seen.append)
    count = statuses(store)
    assert count["failed"] > 0
    assert count["trained"] > 0
    assert count["failed"] + count["trained"] == 6
    assert any("failed: the loss became nan" in each.message for each in seen)
    status = search_status("tiny", store)
    assert status["failures"][0]["reason"] == "the loss became nan at step 1 of 2"
    assert status["num_failed"] == count["failed"] == seen[-1].num_failed


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory: no message"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out of memory: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried",
        ),
        (RuntimeError("shapes do not fit"), "RuntimeError: shapes do not fit"),
    ],
)
def test_a_network_that_cannot_even_be_built_is_a_failed_one(
    make_study, store, monkeypatch, error, reason
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(runner, "measure_latency", fail)
    engine = FakeEngine()
    run_search(make_study(trials=2), store, lambda: engine)
    assert engine.submitted == []
    own = [r for r in store.load("tiny").records if not r.reused_from]
    assert [(r.status, r.reason) for r in own] == [(Status.FAILED, reason)] * 2


def test_an_error_of_the_user_s_stops_the_search_and_costs_no_trial(make_study, store):
    def finish(key, job):
        return Finished(key=key, outcome=None, reason="data: no images", is_user_error=True)

    study, engine = make_study(), FakeEngine(finish)
    with pytest.raises(StudyError, match="data: no images; mend that, then 'branchwork search res"):
        run_search(study, store, lambda: engine)
    assert engine.stopped
    assert store.load("tiny").records == ()
    again = FakeEngine()
    run_search(study, store, lambda: again)
    assert again.submitted[0] == engine.submitted[0]


def test_what_ended_well_is_kept_when_another_ends_the_search(make_study, store):
    def finish(key, job):
        if key == 0:
            return Finished(key=key, outcome=None, reason="no images", is_user_error=True)
        return Finished(key=key, outcome=outcome(job, 0.5))

    with pytest.raises(StudyError, match="no images"):
        run_search(make_study(), store, lambda: FakeEngine(finish, num_workers=2))
    assert statuses(store)["trained"] == 1


def test_a_missing_data_folder_is_one_line(make_study, store, tmp_path):
    study = make_study()
    from tasks import CocoKeypoints

    coco = replace(study, task_name="coco_keypoints", task=CocoKeypoints(), data=tmp_path / "none")
    with pytest.raises(DataError, match="none"):
        run_search(coco, store, lambda: pytest.fail("no engine is needed"))


def test_equal_networks_are_not_trained_twice_across_studies(make_study, store):
    run_search(make_study(trials=6), store, FakeEngine)
    other = replace(make_study(start=False), name="other", trials=6)
    start_search(other, store)
    engine = FakeEngine()
    run_search(other, store, lambda: engine)
    assert engine.submitted == []
    records = store.load("other").records
    firsts = {r.spec_id: r for r in records if r.reused_from.startswith("tiny/")}
    assert len(firsts) == 6
    assert all(r.latencies and r.train_s == 0.0 for r in firsts.values())
    assert len(search_status("other", store)["front"]) == len(search_status("tiny", store)["front"])


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"input": ImageSize(64, 96)},
        {"schedule": "longer"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_seeds_inputs_and_schedules_are_trained_anew(make_study, store, change):
    study = make_study(trials=6)
    run_search(study, store, FakeEngine)
    if "schedule" in change:
        change = {"schedule": replace(study.schedule, steps=3)}
    other = replace(study, name="other", **change)
    start_search(other, store)
    engine = FakeEngine()
    run_search(other, store, lambda: engine)
    assert len(engine.submitted) == 6


def test_a_network_in_training_is_not_started_again_by_another_trial(make_study, store):
    engine = FakeEngine(num_workers=6)
    run_search(make_study(trials=6), store, lambda: engine)
    assert len(engine.submitted) == 6
    records = store.load("tiny").records
    repeats = [record for record in records if record.reused_from]
    assert repeats
    by_reference = {record.reference: record for record in records}
    assert all(by_reference[r.reused_from].spec_id == r.spec_id for r in repeats)
    assert all(trial.state is TrialState.COMPLETE for trial in trials(store))
    assert len(trials(store)) == len(records)


def test_choices_that_do_not_fit_together_are_recorded_as_such(make_study, store):
    study = make_study(
        trials=50, free='widths = [[8, 16], [8, 17]]\nblock = ["ccw", "conv1x1_shuffle", "basic"]'
    )
    run_search(study, store, FakeEngine)
    over = [r for r in store.load("tiny").records if r.status is Status.INFEASIBLE]
    assert over
    assert all(r.choices["widths"] == [8, 17] and r.spec_id == "" for r in over)
    assert all("even number of channels" in r.reason for r in over)
    assert {json.dumps(r.spec["stages"][0]["transition"]["widths"]) for r in over} == {"[8, 17]"}


def test_the_same_seed_proposes_the_same_networks(make_study, store):
    first, second = FakeEngine(), FakeEngine()
    study = make_study(trials=5)
    run_search(study, store, lambda: first)
    other = type(store)(store.root.parent / "others")
    start_search(study, other)
    run_search(study, other, lambda: second)
    assert len(first.submitted) == 5
    assert [job.spec for job in first.submitted] == [job.spec for job in second.submitted]


def test_a_study_s_name_is_taken_once(make_study, store):
    study = make_study(trials=1)
    # As long as nothing came of it, the name is free.
    start_search(study, store)
    run_search(study, store, FakeEngine)
    before = (store.study_folder("tiny") / "study.toml").read_bytes()
    with pytest.raises(StudyError, match="a new study needs a new name"):
        start_search(study, store)
    assert (store.study_folder("tiny") / "study.toml").read_bytes() == before
    with pytest.raises(StudyError, match="the study must be in the run store"):
        load_search("tinny", store)


def test_a_start_that_failed_leaves_the_name_free(make_study, store):
    tight = make_study(limits="macs = 10")
    with pytest.raises(StudyError, match="some network of the space fits"):
        run_search(tight, store, FakeEngine)
    loose = replace(make_study(trials=2), limits=())
    start_search(loose, store)
    run_search(load_search("tiny", store), store, FakeEngine)
    assert search_status("tiny", store)["num_trained"] == 2


def test_the_resolved_file_reads_back_as_the_same_study(make_study, store):
    study = make_study(
        limits="macs = 2e6\nlatency.eager = 50",
        free='"stages.*.units.*.fusion" = "all"\n' + FREE,
    )
    path = store.study_folder("tiny") / "study.toml"
    assert read_study(path, store=store) == study
    text = path.read_text()
    assert "*" not in text
    assert '"all"' not in text


def test_networks_are_measured_in_the_runtimes_that_they_are_compared_by(make_study, store):
    study = make_study(
        trials=3,
        limits="latency.openvino = 1000",
        study='objectives = ["latency.onnxruntime", "params"]',
    )
    for name in study.runtimes:
        if RUNTIMES[name].missing() is not None:
            pytest.skip(f"{name} is not installed")
    run_search(study, store, FakeEngine)
    measured = [r for r in store.load("tiny").records if r.latencies and not r.reused_from]
    assert len(measured) == 3
    names = [[each.runtime for each in record.latencies] for record in measured]
    assert names == [["onnxruntime", "openvino"]] * 3
    assert search_status("tiny", store)["front"][0]["latency.onnxruntime"] == 8.0


def test_a_runtime_that_is_not_there_ends_the_search_before_it_begins(
    make_study, store, monkeypatch
):
    study = make_study(study='objectives = ["latency.cuda", "params"]')
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(StudyError, match=r"^cuda: .* needs an NVIDIA GPU"):
        run_search(study, store, FakeEngine)
    assert store.load("tiny").records == ()


def test_a_network_that_a_runtime_cannot_run_fails_alone(make_study, store, monkeypatch):
    def fail(*_, **__):
        raise BranchworkError(Problem(where="openvino", rule="r", got="g", do="d"))

    monkeypatch.setattr(runner, "measure_latency", fail)
    run_search(make_study(trials=2), store, FakeEngine)
    own = [r for r in store.load("tiny").records if not r.reused_from]
    assert [(r.status, r.reason) for r in own] == [(Status.FAILED, "openvino: r, got g; d")] * 2
