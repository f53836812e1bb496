"""``branchwork roofline``."""

import json
from dataclasses import replace

import pytest

from analysis import latency


def test_it_says_what_limits_a_network(command, tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "THOROUGH", replace(latency.THOROUGH, min_duration_s=0.2))
    picture = tmp_path / "roof.svg"
    result = command("roofline", "small_hrnet_w16", "--input", "64x64", "--out", picture, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["layers"][0]["address"] == "stem"
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["peaks"]["runtime"] == "eager"
    assert "small_hrnet_w16, 64x64, torch" in found["title"]
    assert picture.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--runtime", "openvinoo"), "did you mean 'openvino'?"),
        (("--input", "65x64"), "input"),
        (("--out", "roof.gif"), "write roof.svg"),
    ],
)
def test_mistakes_are_a_line(command, arguments, said):
    result = command("roofline", "small_hrnet_w16", *arguments)
    assert result.code == 2
    assert said in result.err
