"""Learning latencies from measurements: kernels, times joined to them, predictions, files."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from made_calibrations import NUM_NETWORKS, made_calibration

from analysis.calibration_files import default_path, read_calibration, write_calibration
from analysis.calibration_kernels import join_times, kernels_of
from analysis.calibration_networks import draw_networks
from analysis.calibrations import Calibration
from analysis.predictor_smoothing import smooth
from blocks import SLOTS, BranchworkError, ImageSize, Slot, Tape
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


def test_norms_and_activations_go_into_convolutions_where_the_runtime_fuses():
    tape = Tape()
    unit = tape.at("unit")
    x = unit.at("conv").conv((8, 4, 4), 16)
    x = unit.at("act").act(unit.at("norm").norm(x))
    tape.at("other").act(x, "GELU")
    fused = kernels_of(tape.ops, are_fused=True)
    assert [kernel.kind for kernel in fused] == ["pointwise", "gelu"]
    assert fused[0].addresses == ("unit.conv", "unit.norm", "unit.act")
    assert (fused[0].macs, fused[0].filled_macs) == (8 * 16 * 16, 16 * 16 * 16)
    plain = kernels_of(tape.ops, are_fused=False)
    assert [kernel.kind for kernel in plain] == ["pointwise", "batch_norm", "relu", "gelu"]


def test_kinds_of_convolutions():
    tape = Tape()
    tape.conv((16, 8, 8), 16, kernel=3)
    tape.conv((16, 8, 8), 16, kernel=3, groups=16)
    tape.conv((16, 8, 8), 16, groups=2)
    tape.conv((16, 1, 1), 4)
    tape.deconv((16, 8, 8), 8, kernel=4, stride=2)
    tape.conv_by((6, 8, 8), 3)
    kernels = kernels_of(tape.ops, are_fused=True)
    assert [kernel.kind for kernel in kernels] == [
        *("dense", "depthwise", "grouped", "vector", "transposed", "computed_filters")
    ]
    assert kernels[4].macs == 8 * 8 * 16 * 8 * 16
    assert kernels[5].alignment == 2


def test_times_go_to_the_kernel_that_has_their_address():
    tape = Tape()
    x = tape.at("a.conv").conv((8, 4, 4), 8)
    tape.at("a.act").act(x)
    tape.at("b.conv").conv(x, 8)
    tape.at("b").add(x, x)
    timed = join_times(
        kernels_of(tape.ops, are_fused=True), {"a.act/Relu": 1.0, "b/Add": 2.0, "": 4.0}
    )
    assert [([k.kind for k in row.kernels], row.time_ms) for row in timed] == [
        (["pointwise"], 1.0),
        (["pointwise", "add"], 2.0),
    ]


def test_kernels_behind_one_shared_module_are_not_told_apart():
    tape = Tape()
    x = tape.at("stem.conv.0").conv((8, 4, 4), 8)
    x = tape.at("stem.conv.act").act(x)
    x = tape.at("stem.conv.1").conv(x, 8)
    tape.at("stem.conv.act").act(x)
    (row,) = join_times(kernels_of(tape.ops, are_fused=True), {"stem.conv.act/Relu": 3.0})
    assert len(row.kernels) == 2


def test_a_smooth_function_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 3, (200, 2))
    values = np.sin(points[:, 0]) + 0.5 * points[:, 1]
    found, left_out = smooth(points, values)
    new = rng.uniform(0.2, 2.8, (50, 2))
    assert np.abs(found.at(new) - np.sin(new[:, 0]) - 0.5 * new[:, 1]).max() < 0.1
    assert np.abs(left_out - values).max() < 0.3
    noise, _ = smooth(points, rng.standard_normal(200))
    assert np.abs(noise.at(new)).mean() < 0.5
    few, _ = smooth(points[:3], values[:3])
    assert not few.at(new).any()


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


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data.pop("samples"), "KeyError"),
        (lambda data: data.update(runtime="tpu"), "no runtime 'tpu'"),
        (lambda data: data.update(samples=data["samples"][:3]), "at least 10"),
        (lambda data: data["samples"][0].update(time_ms=0.0), "not above 0"),
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
    kinds = {
        kernel.kind
        for sample in calibration.samples
        for kernel in kernels_of(sample.spec.operations(sample.input), are_fused=True)
    }
    without = [
        sample
        for sample in calibration.samples
        if all(k.kind != "stack" for k in calibration._kernels(sample.spec, sample.input))
    ]
    blind = replace(calibration, samples=tuple(without))
    spec, size = PRESETS["lite_hrnet_18"].make(17), ImageSize(256, 192)
    assert "stack" in kinds
    assert "stack" in blind.predict(spec, size).unknown
    assert not calibration.predict(spec, size).unknown


def test_drawn_networks_have_what_the_presets_have():
    drawn = {
        kernel.kind
        for each in itertools.islice(draw_networks(0), 150)
        for kernel in kernels_of(each.spec.operations(each.size), are_fused=True)
    }
    for name, preset in PRESETS.items():
        spec = preset.make(17)
        kernels = kernels_of(spec.operations(ImageSize(256, 192)), are_fused=True)
        assert {kernel.kind for kernel in kernels} <= drawn, name
