"""A latency says what it depends on, and whether the machine was quiet."""

import subprocess
import sys

import pytest
import torch

from analysis import latency
from analysis.latency import OtherLoad, measure_latency
from blocks import ImageSize
from networks import PRESETS, SpecSpace

SIZE = ImageSize(64, 64)


@pytest.fixture(scope="module")
def spec():
    base = PRESETS["naive_lite_hrnet_18"].make(17)
    return SpecSpace.resolve(base, {"units": [1], "depth": [1]}).spec((0, 0))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(latency, "_MIN_DURATION_S", 0.0)


def test_a_measurement_states_its_conditions_and_leaves_none_behind(spec, quick):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    found = measure_latency(spec, SIZE, threads=1)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert (found.runtime, found.threads, found.batch, found.dtype) == ("eager", 1, 1, "float32")
    assert found.input == SIZE
    assert found.num_runs >= 20
    assert 0 < found.min_ms <= found.p50_ms <= found.p90_ms


@pytest.mark.parametrize(
    "case",
    [
        ([10.0] * 20, 0.0, "quiet", "quiet"),
        ([10.0] * 20, 0.0, "a worker would not pause", "a worker would not pause"),
        ([10.0] * 20, 1.5, "quiet", "other processes kept 1.5 of 4 cores busy"),
        ([10.0] * 15 + [30.0] * 5, 0.3, "quiet", "the 90th percentile is 3.0 times the median"),
        (
            [10.0] * 15 + [30.0] * 5,
            2.0,
            "x",
            (
                "x; other processes kept 2.0 of 4 cores busy; "
                "the 90th percentile is 3.0 times the median"
            ),
        ),
    ],
)
def test_the_verdict_names_every_disturbance(monkeypatch, spec, case):
    times_ms, others, given, verdict = case

    class Load:
        num_cores = 4

        def busy_cores(self):
            return others

    monkeypatch.setattr(latency, "OtherLoad", Load)
    monkeypatch.setattr(latency, "_timed", lambda _: iter(times_ms))
    assert measure_latency(spec, SIZE, verdict=given).verdict == verdict


def test_percentiles_are_those_of_the_passes(monkeypatch, spec):
    monkeypatch.setattr(latency, "_timed", lambda _: iter([float(n) for n in range(1, 12)]))
    found = measure_latency(spec, SIZE)
    assert (found.min_ms, found.p50_ms, found.p90_ms, found.num_runs) == (1.0, 6.0, 10.0, 11)


def test_slow_networks_are_timed_fewer_times(monkeypatch):
    clock = iter(range(0, 10_000, 2))
    monkeypatch.setattr(latency.time, "perf_counter", lambda: float(next(clock)))
    assert len(list(latency._timed(lambda: None))) == 5


def test_another_process_s_load_is_seen_and_one_s_own_is_not():
    load = OtherLoad()
    code = "import time; end = time.time() + 0.6\nwhile time.time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert load.busy_cores() > 0.3
    before = OtherLoad()
    end = latency.time.process_time() + 0.4
    while latency.time.process_time() < end:
        pass
    busy, own, elapsed = (
        now - then for now, then in zip(before._read(), before._at_start, strict=True)
    )
    assert own >= 0.4
    assert before.busy_cores() == pytest.approx((busy - own) / elapsed, abs=0.2)
