"""A latency says what it depends on; outputs come before times, and one failure stops no other."""

import itertools
import math

import pytest
import torch
from tiny_runtimes import LITTLE, SIZE, FakeRuntime, subject, tiny_spec

from analysis import handover, latency, timing, verdicts
from analysis.handover import handover_slowdown
from analysis.latency import RUNTIMES, measure_latencies, measure_latency, random_module
from blocks import BranchworkError, ImageSize


@pytest.fixture
def fake(monkeypatch):
    """Puts a runtime of the test's own among the others."""

    def put(name="fake", **options):
        runtime = FakeRuntime(**options)
        monkeypatch.setitem(RUNTIMES, name, runtime)
        return runtime

    return put


def test_a_measurement_states_its_conditions_and_leaves_none_behind():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    found = measure_latency(tiny_spec(), SIZE, threads=1, effort=LITTLE)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert (found.runtime, found.threads, found.batch, found.dtype) == ("eager", 1, 1, "float32")
    assert (found.input, found.rewritten, found.max_abs_diff) == (SIZE, False, 0.0)
    assert found.num_runs == 4
    assert 0 < found.min_ms <= found.p50_ms <= found.p90_ms <= found.p99_ms
    assert found.version.startswith("torch ")
    assert found.kernels > 50


def test_percentiles_are_those_of_all_passes(fake, monkeypatch):
    # The last times are those of the turns: warming is over once two windows agree.
    windows = itertools.repeat(1.0)
    monkeypatch.setattr(timing, "_window_ms", lambda _: next(windows))
    times_ms = iter([1.0, 2.0, 9.0, 4.0])
    monkeypatch.setattr(timing, "_timed_ms", lambda _: next(times_ms))
    fake()
    found = measure_latencies([subject("fake")], effort=LITTLE).measured[0].latency
    assert (found.num_runs, found.min_ms, found.p50_ms) == (4, 1.0, 3.0)
    assert found.p90_ms == pytest.approx(7.5)
    assert found.p99_ms == pytest.approx(8.85)
    assert found.cv == pytest.approx(math.sqrt(9.5) / 4)
    assert (found.kernels, found.version) == (7, "")


def test_cores_that_share_no_cache_are_told(monkeypatch):
    monkeypatch.setattr(latency, "usable_cores", lambda: (0, 1))
    monkeypatch.setattr(verdicts, "usable_cores", lambda: (0, 1))
    asked = []

    def far():
        asked.append("far")
        return 3.3

    monkeypatch.setattr(latency, "handover_slowdown", far)
    subjects = [subject(), subject(threads=2)]
    one, all_cores = measure_latencies(subjects, effort=LITTLE).measured
    assert "the cores shared no cache in 2 of 2 rounds" in all_cores.latency.verdict
    assert "cache" not in one.latency.verdict
    assert len(asked) == 4
    measure_latencies([subject()], effort=LITTLE)
    assert len(asked) == 4


def test_only_two_cores_that_are_both_used_can_be_apart(fake, monkeypatch):
    monkeypatch.setattr(latency, "handover_slowdown", lambda: 3.3)
    fake("elsewhere", uses_cores=False)
    for cores, asked in (
        ((0, 1), subject("elsewhere", threads=2)),
        ((0, 1, 2), subject(threads=3)),
    ):
        monkeypatch.setattr(latency, "usable_cores", lambda cores=cores: cores)
        (found,) = measure_latencies([asked], effort=LITTLE).measured
        assert "cache" not in found.latency.verdict


def test_handing_over_is_compared_with_keeping(monkeypatch):
    before = torch.get_num_threads()
    times_s = {1: iter([9e-5, 4e-5, 5e-5] * 20), 2: iter([9e-5, 8e-5, 7e-5] * 20)}
    monkeypatch.setattr(handover, "_turned_s", lambda _: next(times_s[torch.get_num_threads()]))
    assert handover_slowdown() == pytest.approx(7 / 4)
    assert torch.get_num_threads() == before


def test_subjects_are_compared_with_the_first():
    module = random_module(tiny_spec())
    found = measure_latencies([subject(module=module), subject(module=module)], effort=LITTLE)
    first, second = found.measured
    assert (first.ratio.value, first.ratio.low, first.ratio.high) == (1.0, 1.0, 1.0)
    assert second.ratio.low <= second.ratio.value <= second.ratio.high
    assert (found.problems, found.is_interrupted) == ((), False)


def test_what_cannot_be_measured_leaves_the_others(fake, monkeypatch):
    def fail(module, images):
        message = "no kernel for this\nsecond line"
        raise RuntimeError(message)

    fake("broken", outputs=fail)
    fake("hungry", outputs=lambda *_: (_ for _ in ()).throw(MemoryError))
    subjects = [
        subject("broken", name="first"),
        subject("eager"),
        subject("cuda"),
        subject("cuda", batch=2),
        subject("hungry"),
        subject("onnxruntime", dtype="float16"),
    ]
    found = measure_latencies(subjects, effort=LITTLE)
    assert [each.subject.runtime for each in found.measured] == ["eager"]
    # Nothing is compared with a first that is not there.
    assert found.measured[0].ratio is None
    words = [str(problem) for problem in found.problems]
    assert len(words) == 4
    assert words[0].startswith("first in broken, batch 1, threads 1, float32: a runtime has")
    assert "RuntimeError: no kernel for this;" in words[0]
    assert words[1].startswith("cuda: a runtime of this name needs an NVIDIA GPU")
    assert "MemoryError" in words[2]
    assert "onnxruntime: a number format" in words[3]
    with pytest.raises(BranchworkError, match="no kernel for this"):
        measure_latency(tiny_spec(), SIZE, runtime="broken", effort=LITTLE)


def test_times_of_another_computation_are_marked(fake):
    fake(outputs=lambda module, images: (module(images) * 1.1,))
    (found,) = measure_latencies([subject("fake")], effort=LITTLE).measured
    assert not found.is_right
    assert "outputs differ from eager float32's by 10.0% of the largest" in found.latency.verdict
    assert found.latency.max_abs_diff > 0


def test_ctrl_c_keeps_what_was_measured(fake, monkeypatch):
    # The second subject is interrupted in its first turn, when the first has had one.
    monkeypatch.setattr(timing, "_window_ms", lambda _: 1.0)

    def run():
        raise KeyboardInterrupt

    fake(on_run=run)
    found = measure_latencies([subject("eager"), subject("fake")], effort=LITTLE)
    assert found.is_interrupted
    assert [each.subject.runtime for each in found.measured] == ["eager"]
    assert found.measured[0].latency.num_runs == 2
    assert "only 2 of at least 4 passes" in found.measured[0].latency.verdict


def test_ctrl_c_ends_a_single_measurement(fake):
    def run():
        raise KeyboardInterrupt

    fake(on_run=run)
    with pytest.raises(KeyboardInterrupt):
        measure_latency(tiny_spec(), SIZE, runtime="fake", effort=LITTLE)


def test_progress_counts_preparing_and_measuring():
    told = []
    subjects = [subject(), subject(name="other")]
    measure_latencies(
        subjects, effort=LITTLE, on_progress=lambda done, text: told.append((done, text))
    )
    assert told[0] == (0, "preparing tiny in eager, batch 1, threads 1, float32")
    assert told[1] == (1, "preparing other in eager, batch 1, threads 1, float32")
    assert [done for done, _ in told[2:]] == [2.5, 3.0, 3.5, 4.0]


def test_layers_are_joined_to_the_addresses_of_the_network(fake):
    times_ms = {
        "stem.conv.0.conv/Conv": 1.0,
        "stem.conv.0.conv/Pad": 2.0,
        "stages.0.units.0.body.0.block.0.no_such_module": 4.0,
        "Reorder": 8.0,
    }
    fake(layer_times_ms=times_ms)
    (found,) = measure_latencies([subject("fake")], effort=LITTLE, with_layers=True).measured
    assert found.layer_times_ms == {
        "stem.conv.0.conv": 3.0,
        "stages.0.units.0.body.0.block.0": 4.0,
        "": 8.0,
    }
    (without,) = measure_latencies([subject("fake")], effort=LITTLE).measured
    assert without.layer_times_ms is None


def test_the_reference_is_made_once_for_a_network_and_a_batch(fake, monkeypatch):
    eager = RUNTIMES["eager"]
    asked = []
    prepare = type(eager).prepare

    def note(self, module, conditions):
        asked.append(conditions)
        return prepare(self, module, conditions)

    monkeypatch.setattr(type(eager), "prepare", note)
    fake()
    module = random_module(tiny_spec())
    subjects = [subject("fake", module=module, threads=n, batch=n) for n in (1, 2)]
    measure_latencies([*subjects, *subjects], effort=LITTLE)
    assert [(each.batch, each.dtype) for each in asked] == [(1, "float32"), (2, "float32")]


def test_a_random_network_is_the_same_each_time_and_draws_from_no_other_seed():
    state = torch.get_rng_state()
    one, other = (random_module(tiny_spec()).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_image_of_another_shape_is_measured_too():
    found = measure_latency(tiny_spec(), ImageSize(32, 64), effort=LITTLE)
    assert str(found.input) == "32x64"
