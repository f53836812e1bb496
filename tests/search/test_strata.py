"""Strata: what is tried covers the costs that the limits leave, and goes on as it began."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from fake_engine import FakeEngine, fake_latency
from hypothesis import given
from hypothesis import strategies as st

from analysis.many import cost_many, every_choice
from analysis.records import Status
from blocks import StudyError
from search import load_search, run_search, runner, search_status
from search.strata import Strata

pytestmark = pytest.mark.usefixtures("quick_latency")

# 200 networks, most of them in the middle of the range.
FREE = """
widths = [[8, 16], [8, 24], [12, 24], [16, 32], [20, 40], [24, 48], [24, 64], [32, 64]]
block = ["ccw", "conv1x1_shuffle", "basic", "bottleneck", "inverted_residual"]
depth = [1, 2, 3, 4, 5]
"""
STRATA = '[strata]\nby = "macs"\ncount = 4\n'


@pytest.fixture
def stratified(make_study):
    def make(strata=STRATA, **options):
        return make_study(
            **{"free": FREE, "sampler": "random", "limits": "", **options}
            | {"limits": f"{options.get('limits', '')}\n{strata}"}
        )

    return make


def costs(store, by="macs"):
    """The costs of the networks tried, in the order of the trials."""
    records = sorted(store.load("tiny").records, key=lambda record: record.trial)
    return [r.cost.conventions[by] for r in records if r.status is not Status.INFEASIBLE]


def filled(study, values):
    held = Counter(map(study.strata.stratum, values))
    return [held[number] for number in range(len(study.strata))]


def submitted(engine):
    return [job.spec for job in engine.submitted]


@pytest.mark.parametrize("trials", [4, 9, 14])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_stratum_is_filled_alike(stratified, store, trials, workers):
    study = stratified(trials=trials)
    run_search(study, store, lambda: FakeEngine(num_workers=workers))
    counts = filled(study, costs(store))
    assert sum(counts) == trials
    assert max(counts) - min(counts) <= 1
    status = search_status("tiny", store)["strata"]
    assert (status["num_finished"], status["edges"]) == (counts, list(study.strata.edges))


def test_without_strata_they_are_not(stratified, store):
    # So the test above can fail.
    study = stratified(trials=14)
    plain = stratified(strata="", trials=14)
    run_search(plain, store, FakeEngine)
    counts = filled(study, costs(store))
    assert max(counts) - min(counts) > 1


@pytest.mark.parametrize("spacing", ["even", "quantile"])
def test_limits_come_first_and_edges_are_those_of_what_they_leave(stratified, spacing):
    study = stratified(
        limits="macs = 6e6\nparams = 40e3",
        strata=f'[strata]\nby = "params"\ncount = 3\nspacing = "{spacing}"\n',
    )
    rows = every_choice(study.space)
    found = cost_many(study.space, rows, size=study.input, names=("macs", "params"))
    left = found["params"][
        (found["macs"] >= 0) & (found["macs"] <= 6e6) & (found["params"] <= 40e3)
    ]
    assert 0 < len(left) < len(rows)
    edges = study.strata.edges
    assert (edges[0], edges[-1]) == (left.min(), left.max())
    if spacing == "even":
        assert max(np.diff(edges)) - min(np.diff(edges)) <= 1
    else:
        held = np.bincount(study.strata.strata(left), minlength=3)
        assert max(held) - min(held) <= len(left) // 10


def test_the_search_itself_starts_in_the_strata_and_then_learns(stratified, store):
    study = stratified(trials=13, sampler="tpe")
    run_search(study, store, FakeEngine)
    counts = filled(study, costs(store)[:10])
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_search_that_goes_on_draws_what_it_would_have_drawn(stratified, store, after):
    class Interrupted(FakeEngine):
        left = after

        def poll(self, timeout_s):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().poll(timeout_s)

    study = stratified(trials=12)
    whole = FakeEngine(num_workers=2)
    first, second = Interrupted(num_workers=2), FakeEngine(num_workers=2)
    with pytest.raises(KeyboardInterrupt):
        run_search(study, store, lambda: first)
    resumed = load_search("tiny", store)
    assert resumed.strata == study.strata
    run_search(resumed, store, lambda: second)
    done = submitted(first)[: 2 * after] + submitted(second)
    for path in store.study_folder("tiny").rglob("*"):
        if path.suffix in {".json", ".journal"} and path.name != "study.toml":
            path.unlink()
    run_search(study, store, lambda: whole)
    assert submitted(whole) == done


def test_a_stratum_that_is_used_up_leaves_its_turns_to_others(stratified, store):
    study = stratified(trials=10, strata='[strata]\nby = "macs"\nedges = [0, 10, 10_000_000_000]\n')
    run_search(study, store, FakeEngine)
    assert filled(study, costs(store)) == [0, 10]


def test_networks_that_are_too_slow_are_not_drawn_again(stratified, store, monkeypatch):
    def slow(spec, size, **options):
        latency = fake_latency(spec, size, **options)
        assert latency.p50_ms in {8, 12, 16, 20, 24, 32}
        return latency

    monkeypatch.setattr(runner, "measure_latency", slow)
    study = stratified(trials=8, limits="latency.eager = 20")
    run_search(study, store, FakeEngine)
    counts = filled(study, costs(store))
    assert sum(counts) == 8
    ruled_out = [r for r in store.load("tiny").records if r.status is Status.INFEASIBLE]
    assert len({r.spec_id for r in ruled_out}) == len(ruled_out) > 0


@pytest.mark.parametrize(
    ("strata", "said"),
    [
        (
            'by = "mac"',
            "a cost that is counted in closed form, got 'mac'; did you mean 'macs'?",
        ),
        (
            "count = 4",
            "strata.by: strata are ranges of a cost that is counted in closed form, got nothing; ",
        ),
        ("by = []", "strata.by: strata are ranges of a cost"),
        ('by = "latency.eager"', "got 'latency.eager'"),
        ('by = "macs"\ncount = 1', "strata.count: this is a whole number of at least 2, got 1"),
        ('by = "macs"\ncount = true', "strata.count: this is a whole number of at least 2"),
        ('by = "macs"\nspacing = "quantil"', "did you mean 'quantile'?"),
        ('by = "macs"\ncounts = 4', "strata.counts: strata have the settings by, count, spacing"),
        ('by = "macs"\nedges = [3, 2, 1]', "each larger than the one before, got [3, 2, 1]"),
        ('by = "macs"\nedges = [1, 2, 3]', "strata.edges: some network within the limits costs"),
        ('by = "macs"\nedges = [1, 2, 3]\ncount = 2', "got count beside edges; leave count or"),
        ('by = "macs"\ncount = 500', "got 500 strata for "),
        (
            'by = "params"\ncount = 2\n[free]\nblock = ["ccw"]',
            "got 2 strata for 1 different params",
        ),
    ],
)
def test_mistakes_are_told(stratified, strata, said):
    free = "" if "[free]" in strata else FREE
    with pytest.raises(StudyError) as caught:
        stratified(
            strata=f"[strata]\n{strata.partition('[free]')[0]}",
            free=strata.partition("[free]")[2] or free,
        )
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mistakes_are_told_with_all_others(make_study):
    with pytest.raises(StudyError) as caught:
        make_study(study="seed = -1", limits='[strata]\nby = "mac"', free=FREE)
    assert len(caught.value.problems) == 2


@given(
    edges=st.lists(st.integers(0, 60), min_size=3, max_size=6, unique=True).map(sorted),
    costs=st.lists(st.integers(0, 70), min_size=1, max_size=20),
)
def test_one_cost_and_many_stand_in_the_same_strata(edges, costs):
    strata = Strata(by="macs", edges=tuple(edges))
    many = strata.strata(np.array(costs, dtype=np.int64)).tolist()
    assert many == [-1 if (n := strata.stratum(cost)) is None else n for cost in costs]
    for cost, number in zip(costs, many, strict=True):
        if number >= 0:
            assert edges[number] <= cost <= edges[number + 1]
