"""A verdict names everything that disturbed a measurement, and right outputs come first."""

import math
import subprocess
import sys
import time

import pytest
import torch

from analysis import verdicts
from analysis.other_load import OtherLoad
from analysis.output_check import compare_outputs
from analysis.timing import Effort, Turn
from analysis.verdicts import Circumstances

EFFORT = Effort(min_runs=20, min_duration_s=0.0, max_duration_s=9.0, max_warm_s=3.0, num_rounds=4)
CALM = [10.0] * 5


def verdict(
    rounds, *, busy=0.0, threads=1, known="quiet", outputs="", settled=True, probed=None, both=False
):
    turns = [
        Turn(
            index=0,
            round=number,
            times_ms=tuple(times),
            elapsed_s=1.0,
            busy_cores=busy,
            probed=probed[number] if probed else None,
        )
        for number, times in enumerate(rounds)
    ]
    said = Circumstances(known=known, outputs=outputs, is_settled=settled, used_both_cores=both)
    return said.verdict(turns, threads, EFFORT)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (lambda: verdict([CALM] * 4), "quiet"),
        (lambda: verdict([CALM] * 4, known="a worker would not pause"), "a worker would not pause"),
        (lambda: verdict([CALM] * 4, outputs="outputs differ"), "outputs differ"),
        (lambda: verdict([CALM] * 4, threads=8), "8 threads shared 4 cores"),
        (lambda: verdict([CALM] * 4, busy=0.39), "quiet"),
        (lambda: verdict([CALM] * 4, busy=1.5), "other processes kept 1.5 of 4 cores busy"),
        (lambda: verdict([CALM] * 4, both=True, probed=[1.0, 1.5, 1.9, 1.1]), "quiet"),
        (
            lambda: verdict([CALM] * 4, both=True, probed=[1.0, 3.2, 3.5, 1.1]),
            "the cores shared no cache in 2 of 4 rounds",
        ),
        (lambda: verdict([CALM] * 4, threads=2, probed=[3.0] * 4), "quiet"),
        (lambda: verdict([CALM] * 4, settled=False), "times did not settle in 3 s"),
        (
            lambda: verdict([[10.0] * 4 + [30.0]] * 4),
            "the 90th percentile is 3.0 times the median",
        ),
        (
            lambda: verdict([CALM, CALM, [11.0] * 5, [11.0] * 5]),
            "times drifted by +10% from the first rounds to the last",
        ),
        (
            lambda: verdict([[11.0] * 5, CALM, CALM, CALM]),
            "times drifted by -9% from the first rounds to the last",
        ),
        (lambda: verdict([CALM] * 3), "only 15 of at least 20 passes"),
        (lambda: verdict([[10.0]]), "only 1 of at least 20 passes"),
        (
            lambda: verdict([CALM] * 3, busy=2.0, known="x"),
            "x; other processes kept 2.0 of 4 cores busy; only 15 of at least 20 passes",
        ),
    ],
)
def test_the_verdict_names_every_disturbance(monkeypatch, said, expected):
    monkeypatch.setattr(verdicts, "usable_cores", lambda: (0, 1, 2, 3))
    assert said() == expected


def test_another_process_s_load_is_seen_and_one_s_own_is_not():
    load = OtherLoad()
    code = "import time; end = time.time() + 0.6\nwhile time.time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert load.busy_cores() > 0.3
    before = OtherLoad()
    end = time.process_time() + 0.4
    while time.process_time() < end:
        pass
    busy, own, elapsed = (
        now - then for now, then in zip(before._read(), before._at_start, strict=True)
    )
    assert own >= 0.4
    assert before.busy_cores() == pytest.approx((busy - own) / elapsed, abs=0.2)


RIGHT = (torch.tensor([[4.0, -8.0]]), torch.tensor([[1.0]]))


@pytest.mark.parametrize(
    ("dtype", "off", "is_right"),
    [
        ("float32", 0.0, True),
        ("float32", 0.007, True),
        ("float32", 0.009, False),
        ("float16", 0.07, True),
        ("float16", 0.09, False),
        ("bfloat16", 0.39, True),
        ("bfloat16", 0.41, False),
        ("float32", math.inf, False),
        ("float32", math.nan, False),
    ],
)
def test_outputs_may_differ_by_rounding_only(dtype, off, is_right):
    found = compare_outputs((RIGHT[0], RIGHT[1] + off), RIGHT, dtype)
    assert found.max_abs == pytest.approx(off, abs=1e-6, nan_ok=True)
    assert (found.objection == "") is is_right


def test_outputs_of_another_shape_or_number_are_objected_to():
    for outputs in ((RIGHT[0], RIGHT[1][0]), RIGHT[:1], RIGHT + RIGHT):
        found = compare_outputs(outputs, RIGHT, "float32")
        assert found.max_abs == math.inf
        assert "outputs have shapes" in found.objection


def test_an_output_of_zeros_must_be_zero():
    zeros = (torch.zeros(1, 2),)
    assert not compare_outputs(zeros, zeros, "float32").objection
    assert compare_outputs((zeros[0] + 1e-9,), zeros, "float32").objection
