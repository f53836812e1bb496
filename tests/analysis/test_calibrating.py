"""Measuring for a predictor, here and on another device."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from analysis import calibrating, calibration_devices
from analysis.calibrating import Measured, calibrate, measure_in_turns, prepare_drawn
from analysis.calibration_devices import COPIED_SCRIPT, export_calibration, import_table
from analysis.calibration_networks import draw_networks
from analysis.calibration_turns import MachineSpeed, take_turns
from blocks import BranchworkError


def small_networks(seed, blocks=()):
    for drawn in draw_networks(seed, blocks):
        units = sum(len(stage.units) for stage in drawn.spec.stages)
        if drawn.size.height == 128 and units == 1 and drawn.spec.stages[0].units[0].body:
            yield drawn


class MadeSpeed(MachineSpeed):
    """A machine whose speed is written down: what the reference takes, one time after another."""

    def __init__(self, references_s):
        self.seen_s, self.anchors = [], []
        self.references_s = iter(references_s)

    def reference_s(self):
        found = next(self.references_s)
        self.seen_s.append(found)
        return found


def test_a_turn_counts_as_at_the_machines_best():
    speed = MadeSpeed([1.0, 1.0, 2.0, 2.02])
    turns = [speed.turn(lambda: 3.0), speed.turn(lambda: 3.0 * 2**0.75)]
    time_ms, before_ms, again_ms = speed.times_ms(turns, (1.0, 1.0, 1.0))
    assert before_ms == 3.0
    assert again_ms == pytest.approx(3.0, rel=0.01)
    assert time_ms == pytest.approx(3.0, rel=0.01)


def test_turns_at_quiet_moments_count():
    """Where half of them were slowed down more than the reference tells."""
    speed = MadeSpeed([1.0, *[1.0, 1.0, 2.0, 2.0] * 4])
    speed.reference_s()
    turns = [speed.turn(lambda ms=ms: ms) for ms in (3.0, 9.0) * 4]
    assert speed.time_ms(turns) == 3.0


def test_networks_count_as_where_the_anchor_was_quick():
    """Ten times three networks took turns; four times the memory was slow and products were not."""
    speed, found = MadeSpeed([1.0] * 1000), []
    for batch in range(10):
        slow = 1.2 if batch in (0, 3, 4, 8) else 1.0
        runs = [lambda ms=ms * slow: ms for ms in (2.0, 3.0, 4.0)]
        turns = take_turns(runs, lambda slow=slow: 10.0 * slow, speed)
        assert [[time_ms for time_ms, _ in taken] for taken in turns] == [
            [ms * slow] * 8 for ms in (2.0, 3.0, 4.0)
        ]
        found.append((turns, batch))
    for (turns, batch), factors in zip(found, speed.factors(), strict=True):
        assert factors == pytest.approx((1 / 1.2 if batch in (0, 3, 4, 8) else 1.0,) * 3)
        for taken, ms in zip(turns, (2.0, 3.0, 4.0), strict=True):
            assert speed.times_ms(taken, factors) == pytest.approx((ms, ms, ms))


def test_the_anchors_own_noise_is_in_what_a_second_measurement_says():
    speed = MadeSpeed([1.0])
    speed.reference_s()
    speed.anchors += [[(10.0, 1.0)] * 8, [(10.0, 1.0), (12.0, 1.0)] * 4]
    _, (_, even, odd) = speed.factors()
    assert (even, odd) == (1.0, pytest.approx(10.2 / 12))


def test_single_moments_at_which_the_machine_is_quicker_count_for_nothing():
    steady, once = MadeSpeed([1.0] * 40), MadeSpeed([0.5, *[1.0] * 39])
    for speed in (steady, once):
        for _ in range(40):
            speed.reference_s()
    assert steady.best_s == once.best_s == 1.0


def test_a_turn_in_which_the_speed_changed_is_repeated():
    speed = MadeSpeed([1.0, 1.5, 1.5])
    times_ms = iter([4.0, 6.0])
    assert speed.turn(lambda: next(times_ms)) == (6.0, 1.5)
    always = MadeSpeed([1.0, 2.0] * 10)
    time_ms, reference_s = always.turn(lambda: 5.0)
    assert (time_ms, reference_s) == (5.0, pytest.approx(2**0.5))


def test_networks_are_measured_whole_and_by_kernel():
    drawn = next(small_networks(5))
    speed = MachineSpeed()
    prepared = prepare_drawn(drawn, "eager", 1)
    (measured,) = measure_in_turns([(drawn, prepared)], prepared, threads=1, speed=speed)
    sample = measured.sample(speed, speed.factors())
    assert 0 < sample.time_ms < 10_000
    assert len(measured.turns) == 8
    assert sum(kernel.time_ms for kernel in sample.kernels) > 0.2 * sample.time_ms
    assert sample.spec == drawn.spec


@pytest.mark.parametrize(("num_whole", "is_kept"), [(2, True), (1, False)])
def test_ctrl_c_keeps_what_was_measured_if_it_is_enough(monkeypatch, num_whole, is_kept):
    turns = iter(range(10))

    def measure(ready, anchor, threads, speed, *, on_round):
        on_round()
        if next(turns) == num_whole:
            raise KeyboardInterrupt
        turn = (1.0, speed.best_s)
        speed.anchors.append([turn, turn])
        return [
            Measured(network=drawn, turns=(turn, turn), batch=0, kernels=()) for drawn, _ in ready
        ]

    monkeypatch.setattr(calibrating, "FEWEST_NETWORKS", 2 * calibrating.AT_ONCE)
    monkeypatch.setattr(calibrating, "prepare_drawn", lambda *_: None)
    monkeypatch.setattr(calibrating, "measure_in_turns", measure)
    if is_kept:
        assert len(calibrate("eager").samples) == 2 * calibrating.AT_ONCE
    else:
        with pytest.raises(KeyboardInterrupt):
            calibrate("eager")


def test_the_last_networks_are_as_many_as_there_is_time_for(monkeypatch):
    now_s, sizes = [0.0], []

    def measure(ready, anchor, threads, speed, *, on_round):
        sizes.append(len(ready))
        now_s[0] += 2.5 * len(ready)
        turn = (1.0, speed.best_s)
        speed.anchors.append([turn, turn])
        return [
            Measured(network=drawn, turns=(turn, turn), batch=0, kernels=()) for drawn, _ in ready
        ]

    monkeypatch.setattr(calibrating, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    monkeypatch.setattr(calibrating, "prepare_drawn", lambda *_: None)
    monkeypatch.setattr(calibrating, "measure_in_turns", measure)
    told = []
    found = calibrate("eager", minutes=1.9, on_progress=lambda done, _: told.append(done))
    assert sizes == [16, 16, 13]
    assert len(found.samples) == 45
    assert now_s[0] <= 1.9 * 60
    assert 0 == told[0] < told[-1] < 1


def test_what_cannot_be_run_is_counted_and_too_few_are_told(monkeypatch):
    def refuse(network, runtime, threads):
        if network is calibrating.ANCHOR:
            return
        raise calibrating.RUNTIMES[runtime].cannot_run(RuntimeError("no such operator"))

    monkeypatch.setattr(calibrating, "prepare_drawn", refuse)
    with pytest.raises(BranchworkError, match="0, and 12 that could not be run"):
        calibrate("eager", most_networks=12)


def test_a_folder_is_measured_by_its_own_script_and_its_table_comes_back(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(calibration_devices, "draw_networks", small_networks)
    monkeypatch.setattr(calibration_devices, "ANCHOR", next(small_networks(5)))
    folder = tmp_path / "device"
    assert export_calibration(folder, num_networks=11, seed=2) > 0
    contents = json.loads((folder / "networks.json").read_text(encoding="utf-8"))
    assert len(contents["networks"]) == len(list(folder.glob("network_*.onnx"))) == 11
    assert (folder / contents["anchor"]["file"]).exists()
    # A quick turn is enough here; and one network is broken.
    turns = folder / "calibration_turns.py"
    quick = turns.read_text(encoding="utf-8").replace("NUM_ROUNDS = 8", "NUM_ROUNDS = 2")
    turns.write_text(quick.replace("TURN_S = 0.05", "TURN_S = 0"), encoding="utf-8")
    (folder / "network_003.onnx").write_bytes(b"no model")
    subprocess.run(
        [sys.executable, "-E", "-s", COPIED_SCRIPT, "--device", "board", "--out", "table.json"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    found = import_table(folder / "table.json")
    assert (found.runtime, found.machine, found.threads) == ("onnxruntime", "board", 1)
    assert (len(found.samples), found.num_failed) == (10, 1)
    kernels = found.samples[0].kernels
    assert {"convolution", "ReorderOutput"} <= {kernel.operator for kernel in kernels}
    assert any(kernel.name.startswith("/stages.0.") for kernel in kernels)
    for sample in found.samples:
        assert found.predict(sample.spec, sample.input).time_ms > 0


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("anchor.onnx", "anchor.onnx, which all others are compared with, cannot be run"),
        ("network_*.onnx", "no network was measured, so table.json was not written"),
    ],
)
def test_a_device_that_can_run_nothing_says_so(tmp_path, monkeypatch, broken, told):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(calibration_devices, "draw_networks", small_networks)
    monkeypatch.setattr(calibration_devices, "ANCHOR", next(small_networks(5)))
    folder = tmp_path / "device"
    export_calibration(folder, num_networks=2, seed=2)
    for path in folder.glob(broken):
        path.write_bytes(b"no model")
    done = subprocess.run(
        [sys.executable, "-E", "-s", COPIED_SCRIPT],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "table.json").exists()


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(BranchworkError, match="a folder with files in it"):
        export_calibration(tmp_path, num_networks=10)
