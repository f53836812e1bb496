"""The verb latency: rows for every combination, one clear line for what cannot be measured."""

import json

import pytest

from analysis import latency, timing, verdicts
from analysis.runtimes import RUNTIMES, onnx_runtime
from networks import PRESETS, SpecSpace, spec_to_dict

TINY = ("--input", "64x32", "--set", "branches=2", "--set", "units=1", "--set", "depth=1")
KEYS = [
    *("network", "spec_id", "input", "runtime", "threads", "batch", "dtype", "rewritten"),
    *("num_runs", "min_ms", "p50_ms", "p90_ms", "p99_ms", "cv", "max_abs_diff", "kernels"),
    *("verdict", "version", "ratio", "environment"),
]


@pytest.fixture(autouse=True)
def little_effort(monkeypatch):
    """Measures as briefly as the method allows."""
    little = timing.Effort(
        min_runs=4, min_duration_s=0.0, max_duration_s=60.0, max_warm_s=0.0, num_rounds=2
    )
    monkeypatch.setattr(latency, "THOROUGH", little)


def here(*names):
    for name in names:
        missing = RUNTIMES[name].missing()
        if missing is not None:
            pytest.skip(str(missing))
    return ",".join(names)


def test_the_effort_is_that_of_the_documentation(monkeypatch):
    monkeypatch.undo()
    assert (latency.THOROUGH.min_runs, latency.THOROUGH.min_duration_s) == (50, 2.0)


def test_every_combination_is_a_row(command):
    names = here("onnxruntime", "openvino")
    arguments = ("lite_hrnet_18", "naive_lite_hrnet_18", *TINY, "--runtime", names)
    result = command("latency", *arguments, "--batch", "1,2", "--threads", "1,2", "--json")
    rows = json.loads(result.out)
    assert result.code == 0, result.err
    assert [list(row) for row in rows] == [KEYS] * 16
    found = [(row["runtime"], row["batch"], row["threads"]) for row in rows[:8]]
    assert found == [(r, b, t) for r in names.split(",") for b in (1, 2) for t in (1, 2)]
    assert {row["network"].split()[0] for row in rows[8:]} == {"naive_lite_hrnet_18"}
    assert len({row["spec_id"] for row in rows}) == 2
    for row in rows:
        assert (row["dtype"], row["rewritten"], row["input"]) == ("float32", False, "64x32")
        assert 0 < row["min_ms"] <= row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["max_abs_diff"] < 1e-3
        assert row["ratio"]["low"] <= row["ratio"]["value"] <= row["ratio"]["high"]
        assert row["environment"]["cpu"]
        assert row["verdict"]
    assert "measuring" in result.err


def test_a_rewritten_network_says_so_and_computes_the_same(command):
    names = here("eager", "onnxruntime", "openvino")
    written = json.loads(
        command("latency", "lite_hrnet_18", *TINY, "--runtime", names, "--json").out
    )
    result = command("latency", "lite_hrnet_18", *TINY, "--runtime", names, "--rewrite", "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    assert [row["rewritten"] for row in rows] == [True] * 3
    assert [row["spec_id"] for row in rows] == [row["spec_id"] for row in written]
    assert all(row["kernels"] < plain["kernels"] for row, plain in zip(rows, written, strict=True))


def test_what_is_not_there_is_said_and_the_rest_measured(command, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda _: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ("lite_hrnet_18", "hrnet_w32", *TINY, "--runtime", "onnxruntime,eager,cuda")
    result = command("latency", *arguments, "--json")
    assert result.code == 2
    assert [row["runtime"] for row in json.loads(result.out)] == ["eager"] * 2
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert 'run pip install "branchwork[export]"' in errors[0]
    assert errors[1].startswith("error: cuda: a runtime of this name needs an NVIDIA GPU")


def test_an_image_that_does_not_fit_one_network_leaves_the_other(command, tmp_path):
    space = SpecSpace.resolve(PRESETS["lite_hrnet_18"].make(17), {"branches": [2], "units": [1]})
    spec = space.spec((0,) * len(space.dimensions))
    (tmp_path / "small.json").write_text(json.dumps(spec_to_dict(spec)))
    result = command("latency", "lite_hrnet_18", "small.json", "--input", "16x16", "--json")
    assert result.code == 2
    assert [row["network"] for row in json.loads(result.out)] == ["small.json"]
    assert "both sides must be multiples of the coarsest stride, 32" in result.err


def test_ctrl_c_prints_what_there_is(command, monkeypatch):
    turns = timing.take_turns

    def interrupted(*asked):
        yield next(turns(*asked))
        raise KeyboardInterrupt

    monkeypatch.setattr(latency, "take_turns", interrupted)
    result = command("latency", "lite_hrnet_18", "hrnet_w32", *TINY, "--json")
    assert result.code == 130
    (row,) = json.loads(result.out)
    assert row["network"].startswith("lite_hrnet_18")
    assert "only 2 of at least 4 passes" in row["verdict"]
    assert row["ratio"] is None
    assert "stopped; what was measured by then is printed" in result.err
    assert result.err.endswith("interrupted\n")


def test_strict_fails_on_what_was_disturbed(command, monkeypatch):
    monkeypatch.setattr(verdicts, "usable_cores", lambda: (0,))
    arguments = ("latency", "lite_hrnet_18", *TINY, "--threads", "2", "--json")
    assert command(*arguments).code == 0
    result = command(*arguments, "--strict")
    assert result.code == 2
    assert "2 threads shared 1 core" in json.loads(result.out)[0]["verdict"]
    assert "disturbed: lite_hrnet_18" in result.err


def test_layers_are_the_spec_s(command):
    names = here("eager", "openvino")
    arguments = ("latency", "lite_hrnet_18", *TINY, "--runtime", names, "--layers")
    for row in json.loads(command(*arguments, "--json").out):
        assert {"stem", "stages.0.units.0.body.0.block", "head"} <= row["layers"].keys()
    shown = command(*arguments).out
    assert "stages.0.units.0.body.0.block" in shown
    assert "of the first (95 %)" in shown


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--runtime", "eager,openvin", "did you mean 'openvino'?"),
        ("--dtype", "int8", "choose one of bfloat16, float16, float32"),
        ("--batch", "1,", "whole numbers above 0"),
        ("--batch", "0", "whole numbers above 0"),
        ("--threads", "two", "write --threads 1 or --threads 1,2"),
    ],
)
def test_a_setting_that_is_none_is_refused_before_anything_runs(command, option, value, said):
    result = command("latency", "lite_hrnet_18", option, value)
    assert (result.code, result.out) == (2, "")
    assert f"error: {option}: " in result.err
    assert said in result.err
