"""A rank study trains each network on both schedules once, whatever happens, and reads it right."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from fake_engine import FakeEngine, outcome

from analysis.cost import measure_cost
from analysis.records import CurvePoint, Status
from analysis.store import RunStore
from blocks import BranchworkError, ImageSize, StudyError
from networks import PRESETS, SpecSpace, read_spec, spec_from_dict, spec_id
from search import (
    Entrant,
    Finished,
    RankStudy,
    draw_entrants,
    rank_results,
    run_rank_study,
)
from search.lock import study_lock
from search.rank_report import (
    agreement_table,
    rank_data,
    rank_sentences,
    scores_table,
    write_rank_report,
)
from tasks import SyntheticKeypoints
from training import Schedule

SIZE = ImageSize(64, 64)
TASK = SyntheticKeypoints(num_train=32, num_val=16, flip_test=False)
SHORT = Schedule(steps=2, batch=4, lr=1e-3, num_evals=1, warmup_steps=1)
LONG = replace(SHORT, steps=6, num_evals=3)


class Fake(FakeEngine):
    """Trains nothing; keeps how often what was trained, and may break off at some poll."""

    def __init__(self, finish=None, num_workers=2, last_poll=math.inf):
        super().__init__(finish or finished, num_workers)
        self._polls_left = last_poll

    def poll(self, timeout_s):
        self._polls_left -= 1
        if self._polls_left < 0:
            raise KeyboardInterrupt
        return super().poll(timeout_s)


def score_of(job):
    """A score that depends on the network alone, another one for each."""
    return int(spec_id_of(job), 16) / 16**12


def spec_id_of(job):
    return spec_id(spec_from_dict(job.spec))


def finished(key, job):
    made = outcome(job, score_of(job))
    return Finished(key=key, outcome=replace(made, results=results_of(job), curve=curve_of(job)))


def results_of(job, score=None):
    """Per-image results whose mean_oks is the score on every image."""
    nothing = job.task.score(job.task.open(job.data, "val", job.input), [])
    arrays = dict(nothing.arrays())
    arrays["similarity"] = (score_of(job) if score is None else score) * arrays["num_labelled"]
    return type(nothing).from_arrays(arrays)


def curve_of(job):
    steps = job.schedule.eval_steps
    return tuple(
        CurvePoint(
            step=step,
            loss=1.0,
            score=0.0,
            elapsed_s=1.0,
            # Upside down until the second evaluation.
            metrics={"mean_oks": score_of(job) * (-1 if step < steps[-1] / 2 else 1)},
        )
        for step in steps
    )


def space_of(base_json):
    return SpecSpace.resolve(read_spec(base_json), {"widths": [[8, 2 * n] for n in range(4, 16)]})


@pytest.fixture
def networks(base_json):
    """Twelve networks that differ in their width."""
    return draw_entrants(
        space_of(base_json), 12, size=SIZE, task=TASK, largest_macs=math.inf, seed=0
    )


@pytest.fixture
def study(networks):
    return RankStudy(
        name="ranks",
        networks=networks,
        task_name="synthetic_keypoints",
        task=TASK,
        data=None,
        input=SIZE,
        short=SHORT,
        long=LONG,
        seeds=(0,),
    )


def test_every_network_is_trained_once_on_each_schedule(study, store):
    engine = Fake()
    said = []
    run_rank_study(study, store, lambda: engine, said.append)
    trained = [(spec_id_of(job), job.schedule.steps, job.seed) for job in engine.submitted]
    assert sorted(trained) == sorted(
        (spec_id(e.spec), steps, 0) for e in study.networks for steps in (2, 6)
    )
    assert engine.stopped
    assert (said[-1].num_done, said[-1].num_runs, said[-1].num_failed) == (24, 24, 0)
    run_rank_study(study, store, lambda: pytest.fail("nothing is left to train"))


@pytest.mark.parametrize("polls", [0, 1, 5])
def test_after_ctrl_c_nothing_is_trained_twice(study, store, polls):
    engine, again = Fake(last_poll=polls), Fake()
    with pytest.raises(KeyboardInterrupt):
        run_rank_study(study, store, lambda: engine)
    assert engine.stopped
    assert len(store.load("ranks").records) == 2 * polls
    run_rank_study(study, store, lambda: again)
    assert len(again.submitted) == 24 - 2 * polls
    # What was in training comes first: its checkpoint waits.
    assert again.submitted[0].checkpoint == engine.submitted[2 * polls].checkpoint


def test_more_networks_or_another_seed_train_what_is_new_only(study, store):
    run_rank_study(replace(study, networks=study.networks[:4]), store, Fake)
    engine = Fake()
    run_rank_study(replace(study, networks=study.networks[:5], seeds=(0, 7)), store, lambda: engine)
    assert len(engine.submitted) == 2 + 10


def test_what_another_study_trained_is_taken_over(study, store):
    few = replace(study, networks=study.networks[:3])
    run_rank_study(replace(few, name="earlier"), store, Fake)
    run_rank_study(few, store, lambda: pytest.fail("all is known"))
    records = store.load("ranks").records
    assert {record.reused_from.split("/")[0] for record in records} == {"earlier"}
    earlier = rank_results(replace(few, name="earlier"), store, ["mean_oks"])
    assert rank_results(few, store, ["mean_oks"]).findings == earlier.findings


def test_a_network_that_fails_is_left_out_by_name(study, store):
    bad = spec_id(study.networks[3].spec)

    def finish(key, job):
        if spec_id_of(job) == bad and job.schedule.steps == 6:
            return Finished(key=key, outcome=None, reason="the loss became nan")
        return finished(key, job)

    said = []
    run_rank_study(study, store, lambda: Fake(finish), said.append)
    assert [r.status for r in store.load("ranks").records].count(Status.FAILED) == 1
    assert any("random-3 failed: the loss became nan" in each.message for each in said)
    results = rank_results(study, store, ["mean_oks"])
    assert results.left_out == {"random-3": "the loss became nan"}
    assert results.findings["mean_oks"].overall.num_networks == 11


def test_a_user_s_mistake_ends_the_study_and_keeps_what_was_done(study, store):
    def finish(key, job):
        if key == 1:
            return Finished(key=key, outcome=None, reason="no such folder", is_user_error=True)
        return finished(key, job)

    with pytest.raises(StudyError, match="no such folder"):
        run_rank_study(study, store, lambda: Fake(finish))
    assert len(store.load("ranks").records) == 1


def test_a_study_is_run_by_one_process_at_a_time(study, store, monkeypatch):
    from search import lock

    monkeypatch.setattr(lock, "_PATIENCE_S", 0.05)
    folder = store.study_folder("ranks")
    folder.mkdir(parents=True)
    with study_lock(folder), pytest.raises(StudyError, match="one process at a time"):
        run_rank_study(study, store, Fake)


@pytest.fixture
def results(study, store):
    run_rank_study(study, store, Fake)
    return rank_results(study, store, ["mean_oks", "AP"])


def test_a_short_schedule_that_ranks_as_the_long_one_has_a_tau_of_1(results):
    found = results.findings["mean_oks"]
    assert found.overall.tau.value == 1
    assert found.overall.p.is_exact
    assert found.overall.p.p == pytest.approx(2 / math.factorial(12))
    assert found.overall.interval_over == "networks and images"
    assert [regret.lost.value for regret in found.regrets] == [0, 0, 0]
    assert [len(stratum.names) for stratum in found.strata] == [6, 6]
    assert found.strata[0].macs[1] <= found.strata[1].macs[0]
    assert [each.tau.value for each in found.stabilities] == [-1, 1, 1]
    assert found.holds_from_step == 4
    assert results.epoch(4) == pytest.approx(4 * 4 / results.num_train_items)


def test_a_short_schedule_upside_down_is_said_to_be(study, store):
    def finish(key, job):
        if job.schedule.steps == 6:
            return finished(key, job)
        made = outcome(job, 0.0)
        return Finished(key=key, outcome=replace(made, results=results_of(job, 1 - score_of(job))))

    run_rank_study(study, store, lambda: Fake(finish))
    found = rank_results(study, store, ["mean_oks"]).findings["mean_oks"]
    assert found.overall.tau.value == -1
    longs = sorted(each.value for each in found.long)
    assert found.regrets[0].lost.value == pytest.approx(longs[-1] - longs[0])
    assert found.regrets[2].lost.value == pytest.approx(longs[-1] - longs[4])


def test_scores_are_means_over_seeds(study, store):
    def finish(key, job):
        made = outcome(job, 0.0)
        return Finished(key=key, outcome=replace(made, results=results_of(job, job.seed / 10)))

    two = replace(study, networks=study.networks[:3], seeds=(1, 9))
    run_rank_study(two, store, lambda: Fake(finish))
    each = [
        rank_results(replace(two, seeds=(seed,)), store, ["mean_oks"]).findings["mean_oks"]
        for seed in (1, 9)
    ]
    both = rank_results(two, store, ["mean_oks"]).findings["mean_oks"]
    means = [np.mean([found.long[index].value for found in each]) for index in range(3)]
    assert [found.value for found in both.long] == pytest.approx(means)


def test_an_unknown_metric_is_refused_with_what_there_is(study, store):
    run_rank_study(study, store, Fake)
    with pytest.raises(StudyError, match=r"mean_oks.*got 'mean_ok'"):
        rank_results(study, store, ["mean_ok"])


def test_too_few_finished_networks_are_no_order(study, store):
    with pytest.raises(StudyError, match="runs are not done"):
        rank_results(study, store)


def test_the_report_holds_every_network_and_number(results, tmp_path):
    page, picture = write_rank_report(results, tmp_path / "out.md", "branchwork rank-study x")
    text = page.read_text()
    assert f"]({picture.name})" in text
    assert picture.read_text().startswith("<svg")
    assert "`branchwork rank-study x`" in text
    assert "Seeds: 0" in text
    assert all(f"| {number} | random-{number - 1} |" in text for number in range(1, 13))
    assert "torch " in text
    data = json.loads(json.dumps(rank_data(results)))
    assert data["metrics"]["mean_oks"]["holds_from_step"] == 4
    assert data["metrics"]["mean_oks"]["tau"]["value"] == 1
    assert len(data["networks"]) == len(data["metrics"]["mean_oks"]["scores"]) == 12
    assert len(scores_table(results).rows) == 12
    assert agreement_table(results).rows[0][:2] == ("mean_oks", "all")
    assert any("better than chance" in sentence for sentence in rank_sentences(results))


def test_what_ranks_nothing_is_said_in_one_sentence(study, store):
    run_rank_study(study, store, lambda: Fake(same))
    results = rank_results(study, store, ["mean_oks"])
    assert any("ranks nothing" in sentence for sentence in rank_sentences(results))
    assert "nan" not in str(agreement_table(results).rows)


def same(key, job):
    return Finished(key=key, outcome=replace(outcome(job, 0.5), results=results_of(job, 0.5)))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"networks": ()}, "an order needs two networks"),
        ({"seeds": ()}, "at least one seed"),
        ({"seeds": (1, 1)}, "no seed twice"),
        ({"input": ImageSize(60, 64)}, "multiples of the coarsest stride"),
    ],
)
def test_a_study_that_cannot_be_run_is_refused(study, change, match):
    with pytest.raises(StudyError, match=match):
        replace(study, **change)


def test_the_same_network_twice_is_refused(study):
    twin = Entrant(name="twin", spec=study.networks[0].spec)
    with pytest.raises(StudyError, match="the same network as random-0"):
        replace(study, networks=(*study.networks, twin))


def test_a_long_schedule_must_be_longer(study, store):
    with pytest.raises(StudyError, match="sees more samples"):
        run_rank_study(replace(study, long=SHORT), store, lambda: pytest.fail("no engine"))


def test_draws_are_different_networks_within_the_limit_and_repeat(networks, base_json):
    space = space_of(base_json)
    costs = sorted(measure_cost(each.spec, SIZE).macs for each in networks)
    settings = {"size": SIZE, "task": TASK, "largest_macs": costs[5], "seed": 3}
    drawn = draw_entrants(space, 4, **settings)
    assert drawn == draw_entrants(space, 4, **settings)
    assert len({spec_id(each.spec) for each in drawn}) == 4
    assert all(measure_cost(each.spec, SIZE).macs <= costs[5] for each in drawn)
    known = {spec_id(each.spec) for each in drawn}
    others = draw_entrants(space, 2, **settings, known=known)
    assert not known & {spec_id(each.spec) for each in others}
    with pytest.raises(StudyError, match="where there are 2"):
        draw_entrants(space, 3, **settings, known=known)


def test_presets_can_be_ranked_for_any_task_of_their_stride(study):
    preset = PRESETS["naive_lite_hrnet_18"].make(TASK.num_outputs)
    networks = (*study.networks[:1], Entrant(name="preset", spec=preset))
    assert replace(study, networks=networks).networks[1].name == "preset"


def test_a_network_whose_images_results_are_gone_is_said(study, store):
    run_rank_study(study, store, Fake)
    gone = store.load("ranks").records[0].record_id
    (store.study_folder("ranks") / "results" / f"{gone}.npz").unlink()
    with pytest.raises(BranchworkError, match="per-image results"):
        rank_results(study, RunStore(store.root), ["mean_oks"])
