"""``branchwork profile`` of what is none of ours: import paths and ONNX files, usable and not."""

from __future__ import annotations

import json

import pytest

CODE = """
from torch import nn


class Asks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return x if x.mean() > 0 else -x


class Reads(Asks):
    def forward(self, x):
        return self.conv(x).numpy()


class Needs(Asks):
    def __init__(self, channels):
        super().__init__()


class Halves(Asks):
    def forward(self, x):
        x = self.conv(x)
        return x + nn.functional.interpolate(x[:, :, ::2, ::2], scale_factor=2)


class Net(Asks):
    def forward(self, x):
        return self.conv(x).relu()
"""
MACS = 12 * 32 * 32


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "others_of_mine.py").write_text(CODE)
    monkeypatch.delitem(__import__("sys").modules, "others_of_mine", raising=False)
    return "others_of_mine"


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("Asks", "32x32", "(Asks): a module runs on meta tensors"),
        ("Reads", "32x32", "can't convert meta device type tensor to numpy"),
        ("Halves", "32x33", "pad the image to 32x64, at which it runs"),
    ],
)
def test_what_broke_off_is_told_and_what_was_counted_is_marked(command, modules, name, size, said):
    result = command("profile", f"{modules}:{name}", "--input", size, "--json")
    assert result.code == 2
    data = json.loads(result.out)[0]
    assert data["is_partial"]
    assert data["macs"] >= MACS
    assert said in data["stopped_by"]
    assert said in result.err
    assert "Traceback" not in result.err
    table = command("profile", f"{modules}:{name}", "--input", size)
    assert "(partial)" in table.out


def test_a_constructor_that_needs_arguments_is_one_line(command, modules):
    result = command("profile", f"{modules}:Needs")
    assert (result.code, result.out) == (2, "")
    assert "makes a module without arguments" in result.err
    assert "missing 1 required positional argument: 'channels'" in result.err
    assert len(result.err.splitlines()) == 1


def test_an_input_that_the_strides_do_not_divide_says_what_to_pad_to(command):
    result = command("profile", "lite_hrnet_18", "--input", "250x190")
    assert (result.code, result.out) == (2, "")
    assert "pad the image to 256x192" in result.err


@pytest.fixture
def onnx_file(tmp_path):
    """Writes ``net.onnx``: a convolution, and after it any operator of any domain."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def write(op_type="Relu", domain="", shape=("batch", 3, "height", "width")):
        nodes = [
            helper.make_node("Conv", ["image", "w"], ["c"], name="/stem/conv/Conv"),
            helper.make_node(op_type, ["c"], ["y"], name="/head/last", domain=domain),
        ]
        weights = numpy_helper.from_array(np.ones((4, 3, 1, 1), dtype=np.float32), "w")
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
        put_out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "net", [image], [put_out], [weights])
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("acme", 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets), str(tmp_path / "net.onnx"))
        return "net.onnx"

    return write


def test_an_onnx_file_has_the_json_of_a_network(command, onnx_file):
    result = command("profile", onnx_file(), "--input", "32x32", "--by", "layer", "--json")
    assert result.code == 0
    data = json.loads(result.out)[0]
    assert (data["network"], data["spec_id"], data["input"]) == ("net.onnx", None, "32x32")
    assert (data["macs"], data["params"], data["is_partial"]) == (MACS, 12, False)
    assert [part["name"] for part in data["parts"]] == ["stem", "head"]
    assert data["notes"] == ["took the input 'image' as 1x3x32x32"]


def test_an_onnx_file_beside_a_preset_in_tables_and_reports(command, onnx_file, tmp_path):
    line = ("profile", onnx_file(), "lite_hrnet_18", "--conventions", "--report", "r.md")
    result = command(*line)
    assert result.code == 0
    assert f"{12 * 256 * 192:,}" in result.out
    assert "198,626,688" in result.out
    assert "An ONNX file is counted node by node" in (tmp_path / "r.md").read_text()
    assert "took the input 'image' as 1x3x256x192" in result.err


def test_an_unknown_operator_is_marked_and_named(command, onnx_file):
    result = command("profile", onnx_file("Fancy", "acme"), "--input", "32x32")
    assert result.code == 0
    assert "net.onnx (partial)" in result.out
    assert f"{MACS:,}" in result.out
    assert "net.onnx: partial, not counted: acme::Fancy (1)" in result.err
    assert "in /head/last" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "64x64"], "leave --input out or write 32x32"),
        (["--by", "slot"], "write --by layer"),
        (["--set", "block=ccw"], "leave --set out"),
        (["--reconcile"], "fvcore and thop run PyTorch modules"),
    ],
)
def test_what_an_onnx_file_does_not_have_is_one_line(command, onnx_file, arguments, said):
    result = command("profile", onnx_file(shape=(1, 3, 32, 32)), *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("content", [None, "not a graph at all\n", ""])
def test_a_file_that_is_no_graph_is_one_line(command, tmp_path, content):
    if content is not None:
        (tmp_path / "net.onnx").write_text(content)
    result = command("profile", "net.onnx")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: net.onnx: ")
    assert len(result.err.splitlines()) == 1


def test_what_a_module_prints_does_not_disturb_the_json(command, tmp_path):
    (tmp_path / "talkative.py").write_text(
        "import torch\nprint('importing')\n\n\nclass Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        print('making')\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 1)\n\n"
        "    def forward(self, x):\n        print('running')\n        return self.conv(x)\n"
    )
    made = command("profile", "talkative:Net", "--input", "32x32", "--memory", "--json")
    assert made.code == 0, made.err
    (data,) = json.loads(made.out)
    assert data["macs"] == 3 * 4 * 32 * 32
    assert "running" in made.err
