"""Schedules: their curves, their names, their errors."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from blocks import StudyError
from cli.main import app
from cli.settings import read_schedule
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
        ({"epochs": 3, "steps": 20}, r"^schedule\.epochs: .* leave out epochs, or steps = 20$"),
        ({"epochs": -1}, "epochs are at least 0"),
        ({"optimiser": "sdg"}, "did you mean 'sgd'"),
        ({"decay": "cosin"}, "did you mean 'cosine'"),
        ({"memory_format": "channel_last"}, "did you mean 'channels_last'"),
        ({"momentum": 0.9}, r'^schedule\.momentum: the setting belongs to optimiser = "sgd"'),
        ({"optimiser": "sgd", "momentum": 1}, "momentum is from 0 to below 1"),
        ({"power": 2}, r'^schedule\.power: the setting belongs to decay = "poly"'),
        ({"drop": 0.5}, r'^schedule\.drop: the setting belongs to decay = "steps"'),
        ({"milestones": [50]}, r"^schedule\.milestones: the setting belongs to .* got \[50\]"),
        ({"decay": "steps"}, r"needs the places where .* write milestones = \[161, 190\]$"),
        ({"decay": "steps", "milestones": [200]}, "lie within the length, 200, got"),
        ({"decay": "steps", "milestones": [90, 60]}, r"milestones rise .* got \[90, 60\]"),
        ({"decay": "steps", "milestones": 60}, r"of the kind of \[6, 8\], got 60"),
        ({"decay": "steps", "milestones": [6.5]}, r"got \[6\.5\]"),
        ({"ema": 1}, "the decay of an average"),
        ({"accumulation": 0}, "a step is learnt from at least 1 part"),
        ({"accumulation": 9}, r"every part .* write 8 or less for a batch of 16$"),
        ({"reference_batch": -1}, "a reference batch is"),
        ({"warmup_steps": 0, "warmup_start": 0.1}, "a warm-up starts at a share"),
        ({"compile": 1}, "the setting is of the kind of False, got 1"),
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


OLD = {
    "smoke": (4, 4, 1e-3, 1, 2),
    "tiny": (200, 16, 1e-2, 10, 4),
    "short": (600, 16, 1e-2, 30, 6),
    "medium": (3000, 32, 4e-3, 100, 10),
}


@pytest.mark.parametrize("name", OLD)
def test_schedules_that_were_there_before_have_the_protocol_that_they_had(name):
    steps, batch, lr, warmup_steps, num_evals = OLD[name]
    assert SCHEDULES[name].resolved(10_000).protocol() == {
        "steps": steps,
        "batch": batch,
        "lr": lr,
        "warmup_steps": warmup_steps,
        "weight_decay": 0.0,
        "init": "kaiming",
        "num_evals": num_evals,
        "precision": "32-true",
    }


def test_the_sample_records_schedules_are_still_what_their_protocols_say(root):
    paths = sorted((root / "runs" / "sample" / "records").glob("*.json"))
    protocols = [
        data["score"]["protocol"]
        for data in (json.loads(path.read_text()) for path in paths)
        if data.get("score")
    ]
    assert protocols
    for protocol in protocols:
        assert Schedule(**protocol["schedule"]).protocol() == protocol["schedule"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_a_resolved_study_file_keeps_is_read_back(name):
    schedule = SCHEDULES[name]
    assert schedule_of(json.loads(json.dumps(schedule.settings()))) == schedule
    resolved = schedule.resolved(150_000)
    assert schedule_of(resolved.settings()) == resolved


def test_the_published_coco_recipe_has_the_published_rates():
    # As the released configuration has it: 586 steps a pass over 149,813 persons on 8 x 32.
    schedule = SCHEDULES["coco_210"].resolved(149_813)
    assert schedule.steps == 122_894
    assert schedule.epochs == 0
    assert schedule.lr_at(0) == pytest.approx(2e-6)
    assert schedule.lr_at(250) == pytest.approx(2e-3 * (0.001 + 0.999 / 2))
    first, second = schedule.milestones
    assert (first, second) == (99_486, 117_042)
    rates = [schedule.lr_at(step) for step in (500, first - 1, first, second - 1, second)]
    assert rates == pytest.approx([2e-3, 2e-3, 2e-4, 2e-4, 2e-5])
    assert schedule.lr_at(schedule.steps - 1) == pytest.approx(2e-5)


def test_the_published_cityscapes_recipe_falls_with_a_power():
    schedule = SCHEDULES["cityscapes_poly"].resolved(2975)
    assert schedule.steps == 119_992
    assert (schedule.momentum, schedule.weight_decay) == (0.9, 5e-4)
    assert schedule.lr_at(0) == 0.01
    assert schedule.lr_at(59_996) == pytest.approx(0.01 * 0.5**0.9)


@given(
    epochs=st.integers(2, 30),
    num_items=st.integers(8, 500),
    batch=st.integers(2, 8),
    data=st.data(),
)
def test_passes_become_just_enough_steps(epochs, num_items, batch, data):
    milestones = tuple(sorted(data.draw(st.sets(st.integers(1, epochs - 1), max_size=3))))
    schedule = Schedule(
        epochs=epochs,
        batch=batch,
        lr=0.1,
        num_evals=1,
        warmup_steps=0,
        decay="steps" if milestones else "cosine",
        milestones=milestones,
    ).resolved(num_items)
    seen = epochs * num_items
    assert (schedule.steps - 1) * batch < seen <= schedule.steps * batch
    for epoch, step in zip(milestones, schedule.milestones, strict=True):
        assert (step - 1) * batch < epoch * num_items <= step * batch
    assert schedule.resolved(num_items) is schedule


def test_the_rate_follows_the_batch_by_a_rule_that_is_kept():
    adam = schedule_of({"base": "coco_210", "batch": 64})
    assert adam.peak_lr == pytest.approx(1e-3)
    assert adam.lr_rule == "0.001 = 0.002 x sqrt(64 / 256), square root in the batch for adam"
    assert adam.resolved(1000).protocol()["lr_rule"] == adam.lr_rule
    assert adam.resolved(1000).lr_at(500) == adam.peak_lr
    sgd = schedule_of({"base": "cityscapes_poly", "batch": 3})
    assert sgd.peak_lr == pytest.approx(0.0025)
    assert sgd.lr_rule == "0.0025 = 0.01 x 3 / 12, linear in the batch for sgd"
    assert SCHEDULES["tiny"].lr_rule == "0.01 as written, for any batch"


def test_a_change_of_length_keeps_milestones_at_their_share():
    short = schedule_of({"base": "coco_210", "steps": 60})
    assert (short.steps, short.epochs, short.milestones) == (60, 0, (49, 57))
    assert schedule_of({"base": "coco_210", "epochs": 21}).milestones == (17, 20)
    written = schedule_of({"base": "coco_210", "epochs": 21, "milestones": [5]})
    assert written.milestones == (5,)
    assert schedule_of({"base": "tiny", "epochs": 3}).steps == 0


def test_a_change_of_decay_or_optimiser_drops_what_belonged_to_the_old_one():
    cosine = schedule_of({"base": "coco_210", "decay": "cosine", "steps": 60})
    assert (cosine.milestones, cosine.decay) == ((), "cosine")
    assert schedule_of({"base": "cityscapes_poly", "optimiser": "adamw"}).momentum == 0
    assert schedule_of({"base": "tiny", "steps": 60, "ema": 0.99, "compile": True}).compile is True


def test_a_batch_larger_than_the_data_is_one_line():
    with pytest.raises(StudyError, match=r"^schedule\.batch: .* got 256 for 40 samples; write 40"):
        SCHEDULES["coco_210"].resolved(40)


def test_the_command_names_every_schedule_and_reads_lists():
    shown = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "160"}).stdout
    assert all(name in shown for name in SCHEDULES)
    schedule = read_schedule("coco_210,steps=60,milestones=[40,50],ema=0.9", "--schedule")
    assert (schedule.steps, schedule.milestones, schedule.ema) == (60, (40, 50), 0.9)
