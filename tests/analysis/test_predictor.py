"""Learning latencies from measurements: predictions and files."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from made_calibrations import NUM_NETWORKS, OVERHEAD_MS, made_calibration, made_time_ms

from analysis import calibrations
from analysis.calibration_files import default_path, read_calibration, write_calibration
from analysis.calibration_networks import draw_networks
from analysis.calibrations import Calibration
from analysis.execution import expected_kernels
from analysis.execution.kernels import convolution, movement
from analysis.predictor import nearest_kind
from analysis.predictor_learning import TimedNetwork, learn
from blocks import SLOTS, BranchworkError, ImageSize, Slot
from networks import PRESETS


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return made_calibration()


def test_drawn_networks_have_every_block_and_are_the_same_for_one_seed():
    drawn = list(itertools.islice(draw_networks(3), len(list(SLOTS[Slot.BLOCK]))))
    again = list(itertools.islice(draw_networks(3), 5))
    assert [each.spec for each in again] == [each.spec for each in drawn[:5]]
    assert {each.blocks[0] for each in drawn} == {entry.name for entry in SLOTS[Slot.BLOCK]}
    only = next(draw_networks(0, ["star"]))
    assert only.blocks == ("star",)


def timed(kernels, *, time_ms=None, are_timed=True):
    """A network on the made machine."""
    executed = tuple((kernel, made_time_ms([kernel]) + OVERHEAD_MS) for kernel in kernels)
    return TimedNetwork(
        kernels=tuple(kernels),
        executed=executed if are_timed else (),
        time_ms=time_ms or made_time_ms(kernels),
    )


def pointwise(channels, outs, side):
    return convolution((channels, side, side), (outs, channels, 1, 1), (outs, side, side))


def drawn_networks(rng, count, **named):
    for _ in range(count):
        sizes = rng.integers(1, 20, (int(rng.integers(5, 30)), 2)) * 8
        yield timed(
            [pointwise(int(a), int(b), int(rng.integers(4, 40))) for a, b in sizes], **named
        )


def test_what_profiling_adds_is_found_and_left_out():
    networks = list(drawn_networks(np.random.default_rng(0), 30))
    known = learn(networks)
    for unseen in drawn_networks(np.random.default_rng(1), 10):
        assert known.predict_ms(unseen.kernels) == pytest.approx(unseen.time_ms, rel=0.03)


def test_whole_passes_teach_without_a_profiler():
    networks = list(drawn_networks(np.random.default_rng(0), 60, are_timed=False))
    known = learn(networks)
    for unseen in drawn_networks(np.random.default_rng(1), 10):
        assert known.predict_ms(unseen.kernels) == pytest.approx(unseen.time_ms, rel=0.1)


def test_whole_passes_correct_what_the_profiler_says():
    """Kernels that wait for memory only when others run as well, such as those of 64 channels."""
    rng = np.random.default_rng(0)
    networks = []
    for network in drawn_networks(rng, 60):
        slow = sum(made_time_ms([k]) for k in network.kernels if k.sides[0] > 80)
        networks.append(replace(network, time_ms=network.time_ms + 0.5 * slow))
    known = learn(networks)
    few, many = pointwise(40, 40, 20), pointwise(120, 40, 20)
    ratio = known.predict_ms([many] * 20) / known.predict_ms([few] * 20)
    assert ratio > 1.3 * made_time_ms([many]) / made_time_ms([few])


def test_kernels_of_large_networks_may_take_longer():
    """As where what was written is in no cache any more when it is read."""
    rng = np.random.default_rng(0)
    networks = []
    for network in drawn_networks(rng, 40):
        whole = timed(network.kernels * int(rng.integers(1, 9)))
        slowing = whole.time_ms**0.1
        executed = tuple((kernel, ms * slowing) for kernel, ms in whole.executed)
        networks.append(replace(whole, executed=executed, time_ms=whole.time_ms * slowing))
    known = learn(networks)
    (one,) = drawn_networks(np.random.default_rng(5), 1)
    ratio = known.predict_ms(one.kernels * 8) / known.predict_ms(one.kernels)
    assert ratio == pytest.approx(8**1.1, rel=0.05)


def test_a_kind_that_is_executed_and_never_expected_teaches_nothing():
    networks = list(drawn_networks(np.random.default_rng(0), 12))
    odd = movement("Odd", [(8, 4, 4)], (8, 4, 4))
    more = [replace(each, executed=(*each.executed, (odd, 5.0))) for each in networks]
    assert "Odd" not in learn(more).kinds


def test_predictions_of_networks_that_were_not_seen(calibration):
    unseen = made_calibration(seed=7, count=12)
    ratios = [
        calibration.predict(sample.spec, sample.input).time_ms / sample.time_ms
        for sample in unseen.samples
    ]
    assert np.median(np.abs(np.array(ratios) - 1)) < 0.1
    assert calibration.errors.count == NUM_NETWORKS
    assert calibration.errors.tau > 0.9
    assert calibration.noise.median == pytest.approx(0.02)


def test_a_prediction_has_a_band_around_it(calibration):
    found = calibration.predict(PRESETS["lite_hrnet_18"].make(17), ImageSize(256, 192))
    low, high = np.quantile(calibration.ratios, (0.1, 0.9))
    assert found.low_ms == pytest.approx(found.time_ms * low)
    assert found.high_ms == pytest.approx(found.time_ms * high)
    assert found.low_ms < found.high_ms


def test_a_file_gives_back_what_was_measured(calibration, tmp_path):
    path = default_path(tmp_path, "onnxruntime", 1, "A Made (R) CPU")
    assert path.name == "a_made_r_cpu_onnxruntime_1.json"
    write_calibration(calibration, path)
    again = read_calibration(path)
    assert again.fingerprint == calibration.fingerprint
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["errors"]["count"] == NUM_NETWORKS
    assert replace(again, threads=2).fingerprint != calibration.fingerprint


def test_what_was_learned_is_kept_and_not_taken_for_other_measurements(
    calibration, tmp_path, monkeypatch
):
    path = tmp_path / "kept.json"
    write_calibration(calibration, path)
    spec, size = PRESETS["lite_hrnet_18"].make(17), ImageSize(256, 192)
    want = calibration.predict(spec, size)
    fewer = replace(read_calibration(path), samples=calibration.samples[:12])
    assert fewer.predict(spec, size) != want
    monkeypatch.setattr(calibrations, "learn", None)
    again = read_calibration(path).predict(spec, size)
    assert again.time_ms == pytest.approx(want.time_ms)
    assert (again.low_ms, again.high_ms) == pytest.approx((want.low_ms, want.high_ms))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data.pop("samples"), "KeyError"),
        (lambda data: data.update(runtime="tpu"), "no runtime 'tpu'"),
        (lambda data: data.update(samples=data["samples"][:3]), "at least 10"),
        (lambda data: data["samples"][0].update(time_ms=0.0), "not above 0"),
        (lambda data: data["samples"][0].update(before_ms=float("nan")), "not above 0"),
        (lambda data: data["samples"][0].pop("kernels"), "KeyError: 'kernels'"),
        (lambda data: data["samples"][0]["kernels"][0].__setitem__(3, []), "IndexError"),
        (lambda data: data["samples"][0]["kernels"][0].__setitem__(5, [8, -1, 4]), "below 1"),
        (lambda data: data["samples"][0]["kernels"][0].__setitem__(6, float("inf")), "not 0 or"),
    ],
)
def test_a_damaged_file_is_told(calibration, tmp_path, damage, said):
    data = json.loads(json.dumps(calibration.data))
    damage(data)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(BranchworkError, match=said):
        read_calibration(path)


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(BranchworkError, match="branchwork calibrate"):
        read_calibration(tmp_path / "none.json")


def test_what_was_never_measured_is_told(calibration):
    def kinds(spec, size):
        return {kernel.kind for kernel in expected_kernels("onnxruntime", spec, size)}

    without = [
        sample
        for sample in calibration.samples
        if "Transpose" not in kinds(sample.spec, sample.input)
    ]
    blind = replace(calibration, samples=tuple(without))
    spec, size = PRESETS["lite_hrnet_18"].make(17), ImageSize(256, 192)
    assert "Transpose" in kinds(spec, size)
    assert "Transpose" in blind.predict(spec, size).unknown


def test_drawn_networks_have_what_the_presets_have():
    """In one test, since what a layer's operations read is recorded once for all runtimes."""
    networks = list(itertools.islice(draw_networks(0), 120))
    for runtime in ("eager", "onnxruntime", "openvino"):
        missing = {
            kernel.kind
            for preset in PRESETS.values()
            for kernel in expected_kernels(runtime, preset.make(17), ImageSize(256, 192))
        }
        drawn: set[str] = set()
        for each in networks:
            drawn |= {kernel.kind for kernel in expected_kernels(runtime, each.spec, each.size)}
            missing = {kind for kind in missing if not nearest_kind(kind, drawn)}
            if not missing:
                break
        assert not missing, runtime
