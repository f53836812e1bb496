"""``branchwork profile --memory``: promised keys, its convention beside it, clear mistakes."""

from __future__ import annotations

import json

MODULE = """
from torch import nn

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image):
        return self.conv(image).relu()

class Crossing(Mine):
    def forward(self, image):
        image = self.conv(image)
        return image if image.sum() > 0 else -image
"""


def test_json_holds_what_is_promised(command):
    result = command("profile", "lite_hrnet_18", "--input", "256x192", "--memory", "--json")
    assert result.code == 0
    memory = json.loads(result.out)[0]["memory"]
    assert memory["eager_peak_bytes"] == 5_505_024
    assert memory["eager_peak_at"] == {
        "operation": 13,
        "address": "stem.long.0.norm",
        "kind": "batch_norm",
    }
    assert memory["last_use_peak_bytes"] == memory["best_order_peak_bytes"] == 3_932_160
    assert memory["best_order_is_proven"] is True
    assert memory["lower_bound_bytes"] == 3_932_160
    assert (memory["dtype"], memory["batch"], memory["input"]) == ("float32", 1, "256x192")
    assert "workspaces excluded" in memory["convention"]
    assert "allocator_peak_bytes" in memory


def test_memory_is_only_followed_when_asked_for(command):
    assert "memory" not in json.loads(command("profile", "lite_hrnet_18", "--json").out)[0]


def test_the_table_says_what_its_numbers_are(command):
    result = command("profile", "small_hrnet_w16", "--memory")
    assert "6,881,280" in result.out
    assert "parameters, buffers and operators' workspaces excluded" in " ".join(result.out.split())
    assert "float32, batch 1, 256x192" in result.out


def test_reports_show_memory(command, tmp_path):
    names = [f"out{suffix}" for suffix in (".html", ".md", ".tex", ".json")]
    options = [option for name in names for option in ("--report", name)]
    assert command("profile", "small_hrnet_w16", "--memory", *options).code == 0
    for name in names[:3]:
        text = (tmp_path / name).read_text()
        assert "Peak activation memory" in text
        assert "6,881,280" in text
    assert "Live activation memory of small_hrnet_w16" in (tmp_path / "out.html").read_text()
    data = json.loads((tmp_path / "out.json").read_text())
    assert data[0]["memory"]["eager_peak_bytes"] == 6_881_280


def test_any_module_can_be_followed(command, tmp_path):
    (tmp_path / "memory_of_mine.py").write_text(MODULE)
    arguments = ("profile", "memory_of_mine:Mine", "--input", "8x8", "--memory", "--json")
    memory = json.loads(command(*arguments).out)[0]["memory"]
    assert memory["eager_peak_bytes"] == 4 * 8 * 8 * (3 + 4 + 4)
    assert not memory["is_partial"]


def test_a_pass_that_breaks_off_is_marked(command, tmp_path):
    (tmp_path / "memory_that_stops.py").write_text(MODULE)
    result = command(
        "profile", "memory_that_stops:Crossing", "--input", "8x8", "--memory", "--json"
    )
    assert result.code == 2
    assert json.loads(result.out)[0]["memory"]["is_partial"]
    assert "memory of a part only: memory_that_stops:Crossing" in result.err
    assert "Traceback" not in result.err


def test_an_onnx_file_has_no_forward_pass(command, tmp_path):
    (tmp_path / "net.onnx").touch()
    result = command("profile", "net.onnx", "--memory")
    assert (result.code, result.out) == (2, "")
    assert "net.onnx" in result.err
    assert "name the module itself" in result.err
