"""Schedules: their curves, their names, their errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import StudyError
from training import SCHEDULES, Schedule, schedule_of

STEPS = st.integers(1, 400)


def test_the_named_schedules_are_there():
    assert {"smoke", "tiny", "short", "medium"} <= SCHEDULES.keys()
    assert SCHEDULES["tiny"].steps == 200
    assert 5e-3 <= SCHEDULES["tiny"].lr <= 1e-2


def test_the_learning_rate_warms_up_and_falls_like_a_cosine():
    schedule = Schedule(steps=110, batch=16, lr=0.01, warmup_steps=10)
    assert [schedule.lr_at(step) for step in (0, 4, 9)] == pytest.approx([0.001, 0.005, 0.01])
    assert schedule.lr_at(10) == 0.01
    assert schedule.lr_at(60) == pytest.approx(0.005)
    assert schedule.lr_at(35) == pytest.approx(0.01 * (0.5 + math.sqrt(2) / 4))
    assert schedule.lr_at(110) == pytest.approx(0, abs=1e-12)


@given(steps=STEPS, warmup_steps=st.integers(0, 500))
def test_the_learning_rate_rises_then_falls_and_stays_above_zero(steps, warmup_steps):
    schedule = Schedule(steps=steps, batch=2, lr=0.5, warmup_steps=warmup_steps, num_evals=1)
    rates = [schedule.lr_at(step) for step in range(steps)]
    assert all(0 < rate <= 0.5 for rate in rates)
    top = min(warmup_steps, steps)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@given(data=st.data(), steps=STEPS)
def test_evaluations_are_spread_and_the_last_is_at_the_end(data, steps):
    num_evals = data.draw(st.integers(1, steps))
    at = Schedule(steps=steps, batch=2, lr=1, num_evals=num_evals).eval_steps
    assert len(set(at)) == num_evals
    assert at[0] >= 1
    assert at[-1] == steps
    gaps = [right - left for left, right in zip((0, *at), at, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_a_table_changes_its_base():
    schedule = schedule_of({"base": "short", "steps": 60, "lr": 1})
    assert (schedule.steps, schedule.lr, schedule.batch) == (60, 1.0, 16)
    assert isinstance(schedule.lr, float)
    assert schedule_of("smoke") is SCHEDULES["smoke"]
    assert schedule_of({}) == SCHEDULES["tiny"]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("shrot", r"^schedule: a schedule has a known name, got 'shrot'; did you mean 'short'\?$"),
        (7, "^schedule: a schedule is a name, or a table"),
        (None, "^schedule: a schedule is a name, or a table"),
        ({"base": "tinyy"}, "did you mean 'tiny'"),
        ({"base": ["tiny"]}, "a schedule has a known name"),
        ({"step": 3}, r"^schedule\.step: .* did you mean 'steps'\?$"),
        ({"steps": 2.5}, r"^schedule\.steps: the setting is of the kind of 200, got 2\.5"),
        ({"steps": True}, "got True"),
        ({"lr": "0.1"}, "got '0.1'"),
        ({"lr": [0.1]}, r"got \[0\.1\]"),
        ({"lr": None}, "got None"),
        ({"init": 3}, "got 3"),
        ({"init": "kaimign"}, "did you mean 'kaiming'"),
        ({"precision": "bf16"}, r"^schedule\.precision: "),
        ({"steps": 0, "num_evals": 1}, "steps are at least 1"),
        ({"batch": 1}, "a batch is at least 2"),
        ({"lr": 0}, "a learning rate is a finite number above 0"),
        ({"lr": math.nan}, "got nan"),
        ({"lr": math.inf}, "got inf"),
        ({"weight_decay": -1}, "weight decay is"),
        ({"warmup_steps": -1}, "a warm-up is"),
        ({"num_evals": 201}, "at most one a step, got 201"),
    ],
)
def test_a_wrong_schedule_is_one_line(written, line):
    with pytest.raises(StudyError, match=line) as caught:
        schedule_of(written)
    assert len(str(caught.value).splitlines()) == len(caught.value.problems)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(StudyError) as caught:
        Schedule(steps=0, batch=0, lr=-1, init="x")
    assert len(caught.value.problems) >= 4
