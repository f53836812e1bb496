"""The verbs calibrate and predict-latency."""

from __future__ import annotations

import json

import pytest
from made_calibrations import made_calibration

from analysis import calibrating
from analysis.calibration_files import default_path, write_calibration


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def test_calibrating_writes_a_file_and_says_its_errors(command, runs, monkeypatch):
    made = made_calibration(count=12)
    monkeypatch.setattr(calibrating, "calibrate", lambda *_args, **_named: made)
    found = json.loads(command("calibrate", "--json").out)
    assert found["num_networks"] == found["errors"]["count"] == 12
    assert found["fingerprint"] == made.fingerprint
    assert (runs.parent / found["file"]).is_file()
    assert "Kendall's tau" in command("calibrate").out


def test_ctrl_c_before_enough_is_measured_is_told(command, runs, monkeypatch):
    def stopped(*_arguments, **_others):
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrating, "calibrate", stopped)
    result = command("calibrate", "--runs", str(runs / "other"))
    assert result.code == 130
    assert "stopped before 10 networks were measured; nothing is written" in result.err
    assert result.err.endswith("interrupted\n")
    assert not (runs / "other").exists()


def test_a_table_is_taken_in_and_predicts(command, tmp_path):
    made = made_calibration(count=12)
    table = tmp_path / "table.json"
    table.write_text(json.dumps(made.data), encoding="utf-8")
    file = tmp_path / "board.json"
    command("calibrate", "--import", str(table), "--out", str(file))
    found = json.loads(
        command("predict-latency", "lite_hrnet_18", "--calibration", str(file), "--json").out
    )
    (row,) = found["predictions"]
    assert (row["network"], row["input"], row["runtime"]) == (
        *("lite_hrnet_18", "256x192", "onnxruntime"),
    )
    assert row["low_ms"] < row["high_ms"]
    assert found["calibration"]["machine"] == made.machine


def test_this_machines_calibration_is_found(command, runs):
    write_calibration(made_calibration(count=12), default_path(runs, "onnxruntime", 1))
    assert "predicted, not measured" in command("predict-latency", "mobilenet_v2").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("calibrate", "--runtime", "compile"), "latencies are predicted in eager"),
        (("calibrate", "--export", "a", "--import", "b"), "both at once"),
        (("predict-latency", "lite_hrnet_18"), "branchwork calibrate"),
    ],
)
def test_mistakes_are_told(command, arguments, said):
    found = command(*arguments)
    assert found.code == 2
    assert said in " ".join(found.err.split())
