"""Measuring for a predictor, here and on another device."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from analysis import calibrating, calibration_devices
from analysis.calibrating import calibrate, measure_in_turns, prepare_drawn
from analysis.calibration_devices import COPIED_SCRIPT, export_calibration, import_table
from analysis.calibration_networks import draw_networks
from analysis.calibrations import CalibrationSample
from blocks import BranchworkError


def small_networks(seed, blocks=()):
    for drawn in draw_networks(seed, blocks):
        units = sum(len(stage.units) for stage in drawn.spec.stages)
        if drawn.size.height == 128 and units == 1 and drawn.spec.stages[0].units[0].body:
            yield drawn


def test_networks_are_measured_whole_and_by_layer():
    drawn = next(small_networks(5))
    (sample,) = measure_in_turns([(drawn, prepare_drawn(drawn, "eager", 1))], threads=1)
    assert sample.time_ms == min(sample.before_ms, sample.again_ms)
    assert 0 < sample.time_ms < 10_000
    assert sum(sample.layer_times_ms.values()) > 0.2 * sample.time_ms
    assert sample.spec == drawn.spec


@pytest.mark.parametrize(("num_whole", "is_kept"), [(2, True), (1, False)])
def test_ctrl_c_keeps_what_was_measured_if_it_is_enough(monkeypatch, num_whole, is_kept):
    turns = iter(range(10))

    def measure(ready, threads):
        if next(turns) == num_whole:
            raise KeyboardInterrupt
        return [
            CalibrationSample(
                spec=drawn.spec,
                input=drawn.size,
                time_ms=1.0,
                before_ms=1.0,
                again_ms=1.0,
                layer_times_ms={},
            )
            for drawn, _ in ready
        ]

    monkeypatch.setattr(calibrating, "FEWEST_NETWORKS", 12)
    monkeypatch.setattr(calibrating, "prepare_drawn", lambda *_: None)
    monkeypatch.setattr(calibrating, "measure_in_turns", measure)
    if is_kept:
        assert len(calibrate("eager").samples) == 12
    else:
        with pytest.raises(KeyboardInterrupt):
            calibrate("eager")


def test_what_cannot_be_run_is_counted_and_too_few_are_told(monkeypatch):
    def refuse(network, runtime, threads):
        raise calibrating.RUNTIMES[runtime].cannot_run(RuntimeError("no such operator"))

    monkeypatch.setattr(calibrating, "prepare_drawn", refuse)
    with pytest.raises(BranchworkError, match="0, and 12 that could not be run"):
        calibrate("eager", most_networks=12)


def test_a_folder_is_measured_by_its_own_script_and_its_table_comes_back(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(calibration_devices, "draw_networks", small_networks)
    folder = tmp_path / "device"
    assert export_calibration(folder, num_networks=10, seed=2) > 0
    entries = json.loads((folder / "networks.json").read_text(encoding="utf-8"))
    assert len(entries) == len(list(folder.glob("*.onnx"))) == 10
    script = (folder / COPIED_SCRIPT).read_text(encoding="utf-8")
    # A quick turn is enough here.
    (folder / COPIED_SCRIPT).write_text(
        script.replace("NUM_ROUNDS = 8", "NUM_ROUNDS = 2").replace("TURN_S = 0.05", "TURN_S = 0")
    )
    subprocess.run(
        [sys.executable, "-I", COPIED_SCRIPT, "--device", "board", "--out", "table.json"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    found = import_table(folder / "table.json")
    assert (found.runtime, found.machine, found.threads) == ("onnxruntime", "board", 1)
    assert len(found.samples) == 10
    # What the device calls its kernels is joined to the networks' addresses.
    timed = found.samples[0].layer_times_ms
    assert any(name.startswith("stages.0.") for name in timed)
    for sample in found.samples:
        assert found.predict(sample.spec, sample.input).time_ms > 0


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(BranchworkError, match="a folder with files in it"):
        export_calibration(tmp_path, num_networks=10)
