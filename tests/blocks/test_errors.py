"""Errors in four parts, on one line, with advice."""

from __future__ import annotations

import pickle

import pytest

from blocks import (
    BranchworkError,
    CheckpointError,
    DataError,
    Problem,
    SpecError,
    StudyError,
    did_you_mean,
    join_address,
    quoted,
)

PROBLEM = Problem(
    where="stages.2.units.0.body.0.block (ccw)",
    rule="every branch needs an even number of channels",
    got="41",
    do="use 40 or 42",
    branch=2,
    stride=16,
)


def test_a_problem_says_where_rule_got_and_what_to_do():
    assert str(PROBLEM) == (
        "stages.2.units.0.body.0.block (ccw): every branch needs an even number of channels, "
        "got 41 on branch 2 (stride 16); use 40 or 42"
    )
    assert str(Problem(rule="a rule", got="x", do="do this")) == "a rule, got x; do this"


def test_a_problem_seen_from_further_out_has_a_longer_address():
    inner = Problem(rule="a rule", got="x", do="do this", where="depth")
    assert inner.under("body.0").under("units.1").where == "units.1.body.0.depth"
    assert inner.where == "depth"


@pytest.mark.parametrize("cls", [SpecError, DataError, CheckpointError, StudyError])
def test_a_users_mistake_is_a_value_error_and_travels_between_processes(cls):
    error = cls([PROBLEM, PROBLEM.under("network")])
    assert isinstance(error, BranchworkError)
    assert isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert again.problems == error.problems
    assert str(again) == str(error) == f"{PROBLEM}\n{PROBLEM.under('network')}"


def test_one_problem_needs_no_list():
    assert SpecError(PROBLEM).problems == (PROBLEM,)


@pytest.mark.parametrize(
    ("name", "known", "advice"),
    [
        ("cww", ["basic", "ccw"], "did you mean 'ccw'?"),
        ("lite_hrnet18", ["lite_hrnet_30", "lite_hrnet_18"], "did you mean 'lite_hrnet_18'?"),
        ("zebra", ["ccw", "basic"], "choose one of basic, ccw"),
        ("", ["ccw"], "choose one of ccw"),
        ("ccw", [], "there is none to choose from"),
    ],
)
def test_advice_for_an_unknown_name(name, known, advice):
    assert did_you_mean(name, known) == advice


def test_addresses_join_without_empty_parts():
    assert join_address("", "a", "", "b.c") == "a.b.c"
    assert join_address() == ""


def test_short_values_are_quoted_as_they_are():
    for value in ("ccw", 41, -1, 3.5, None, True, [0, 0, 1], {"kind": "ccw"}, (40, 0), b"x"):
        assert quoted(value) == repr(value)


def test_whatever_is_quoted_stays_short_and_on_one_line():
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    round_trip: list[object] = []
    round_trip.append(round_trip)
    for value in (
        *("x" * 10**6, "a\nb", 10**6000, -(10**6000), [10**6000] * 100, deep, round_trip),
        *({i: [i] * 100 for i in range(100)}, object(), "\ud800", {1, "a"}, [[[[[[1]]]]]] * 50),
    ):
        text = quoted(value)
        assert len(text) < 2000
        assert "\n" not in text
        text.encode()
