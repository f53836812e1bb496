"""ONNX files: counted to the unit like the specs they come from, and marked where that fails."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from drawn_specs import specs
from hypothesis import given, settings
from made_graphs import IMAGE, conv, export, node, numbers, taken, weight, write
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from analysis.any_module import profile_module
from analysis.conventions import CONVENTIONS
from analysis.cost import count_operations, measure_cost
from analysis.onnx_file import is_onnx_file, profile_onnx
from analysis.unread import unread_operations
from blocks import BranchworkError, ImageSize
from networks import PRESETS

SIZE = ImageSize(32, 32)
CONV_MACS = 32 * 32 * 4 * 27
"""Of a convolution from 3 to 4 channels with 3 x 3 filters on a 32x32 image."""


def profiled(path, asked=None, default=SIZE):
    return profile_onnx(path, asked, default)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lite_hrnet_18", ImageSize(256, 192)),
        ("naive_lite_hrnet_18", ImageSize(256, 192)),
        ("hrnet_w32", ImageSize(64, 96)),
        ("mobilenet_v2", ImageSize(256, 192)),
    ],
)
def test_an_exported_network_counts_like_its_spec(name, size, tmp_path):
    spec = PRESETS[name].make(17)
    found = profiled(export(spec.build(), size, tmp_path / "net.onnx"))
    expected = measure_cost(spec, size)
    assert found.cost.input == size
    for convention in ("macs", "activations", "torch"):
        assert found.cost.conventions[convention] == expected.conventions[convention]
    assert not found.is_partial
    assert found.notes == ()
    assert {part.name for part in found.parts} >= {"stem", "stages", "head"}


@settings(max_examples=15)
@given(spec=specs())
def test_any_network_counts_like_what_its_output_depends_on(spec, tmp_path_factory):
    size = ImageSize(64, 64)
    path = tmp_path_factory.mktemp("drawn") / "net.onnx"
    found = profiled(export(spec.build(), size, path))
    unread = unread_operations(spec)
    kept = [op for index, op in enumerate(spec.operations(size)) if index not in unread]
    expected = count_operations(kept, size)
    assert found.cost.macs == expected.macs
    assert found.cost.conventions["activations"] == expected.conventions["activations"]
    assert not found.is_partial


class Small(nn.Module):
    """Weights of every kind; a resize and a permutation whose targets are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2, groups=2)
        self.norm = nn.LayerNorm(8)
        self.mix = nn.Linear(8, 12)
        self.scale = nn.Parameter(torch.ones(12))
        self.table = nn.Parameter(torch.ones(1, 5, 12))
        self.prelu = nn.PReLU(8)

    def forward(self, x):
        x = self.prelu(nn.functional.hardswish(self.conv(x)))
        x = self.up(x) + nn.functional.interpolate(x, scale_factor=2.0)
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        tokens = self.mix(tokens) * self.scale
        tokens = tokens + self.table.mean(1, keepdim=True)
        return (tokens @ tokens.transpose(1, 2)).softmax(-1)


def _randomised(module):
    # The exporters write equal weights only once.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (*module.parameters(), *module.buffers()):
            if parameter.is_floating_point():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.1)
    return module


@pytest.mark.parametrize("dynamo", [False, True])
def test_both_exporters_give_the_module_s_macs(dynamo, tmp_path):
    module = _randomised(Small())
    found = profiled(export(module, SIZE, tmp_path / "net.onnx", dynamo=dynamo))
    expected = profile_module(module, SIZE)
    assert found.cost.macs == expected.cost.macs > 0
    assert found.cost.conventions["activations"] == expected.cost.conventions["activations"]
    assert not found.is_partial
    assert {part.name for part in found.parts} >= {"conv", "up", "mix"}


def test_parameters_are_the_module_s_where_nothing_is_folded(tmp_path):
    spec = PRESETS["naive_lite_hrnet_18"].make(17)
    module = _randomised(spec.build())
    path = export(
        module,
        ImageSize(64, 64),
        tmp_path / "net.onnx",
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    unread = unread_operations(spec)
    assert not unread
    found = profiled(path)
    assert found.cost.params == measure_cost(spec, ImageSize(64, 64)).params
    assert any(op.kind == "batch_norm" for op in found.recording.ops)


def test_a_file_without_its_external_data_counts_the_same(tmp_path):
    path = export(Small(), SIZE, tmp_path / "net.onnx")
    before = profiled(path)
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, size_threshold=64, location="w.data")
    (tmp_path / "w.data").unlink()
    assert profiled(path).cost == before.cost


def test_a_free_size_is_what_was_asked_for_and_the_batch_is_one(tmp_path):
    path = write(
        tmp_path / "net.onnx",
        [conv("image", "w", "y")],
        [taken("image", ("batch", 3, "height", "width"))],
        [weight("w", 4, 3, 3, 3)],
    )
    found = profiled(path, ImageSize(64, 32))
    assert (found.cost.macs, str(found.cost.input)) == (2 * CONV_MACS, "64x32")
    assert found.notes == ("took the input 'image' as 1x3x64x32",)
    assert profiled(path).cost.macs == CONV_MACS


def test_shapes_that_the_graph_computes_are_followed(tmp_path):
    """Reshapes to computed targets, as a channel shuffle of an exported network has them."""
    nodes = [
        node("Shape", ["image"], ["sides"]),
        node("Gather", ["sides", "two"], ["height"]),
        node("Unsqueeze", ["height", "zero"], ["row"]),
        node("Mul", ["row", "two_row"], ["twice"]),
        node("Concat", ["ones", "twice", "rest"], ["target"], axis=0),
        node("Reshape", ["image", "target"], ["tall"]),
        node("MatMul", ["tall", "w"], ["y"]),
    ]
    held = [
        numpy_helper.from_array(np.array(2, dtype=np.int64), "two"),
        numbers("two_row", 2),
        numbers("zero", 0),
        numbers("ones", 1),
        numbers("rest", 48),
        weight("w", 48, 5),
    ]
    found = profiled(write(tmp_path / "net.onnx", nodes, [taken("image", (1, 3, "h", "w"))], held))
    assert found.cost.macs == 64 * 48 * 5
    assert [op.kind for op in found.recording.ops] == ["mm"]
    assert found.cost.params == 240
    assert not found.is_partial


def test_a_fixed_batch_is_counted_for_one_image(tmp_path):
    held = [weight("w", 4, 3, 3, 3), weight("b", 4)]
    nodes = [conv("image", "w", "c"), node("Relu", ["c"], ["y"])]
    one = profiled(write(tmp_path / "one.onnx", nodes, [taken("image")], held))
    eight = profiled(write(tmp_path / "eight.onnx", nodes, [taken("image", (8, 3, 32, 32))], held))
    assert eight.cost == one.cost
    assert "the batch is fixed at 8; counted for one image of it" in eight.notes


@pytest.mark.parametrize(
    ("shape", "size", "macs", "said"),
    [
        ((1, 1, 32, 32), "32x32", 32 * 32 * 36, "'image' as 1x1x32x32"),
        ((1, 4, 16, 8), "16x8", 16 * 8 * 4 * 36, "'image' as 1x4x16x8"),
        (None, "32x32", CONV_MACS, "'image' as 1x3x32x32"),
    ],
)
def test_other_channels_and_no_shape_at_all(shape, size, macs, said, tmp_path):
    channels = shape[1] if shape else 3
    path = write(
        tmp_path / "net.onnx",
        [conv("image", "w", "y")],
        [taken("image", shape)],
        [weight("w", 4, channels, 3, 3)],
    )
    found = profiled(path)
    assert (str(found.cost.input), found.cost.macs) == (size, macs)
    assert said in found.notes[0]


def test_several_inputs_of_any_rank_are_told(tmp_path):
    path = write(
        tmp_path / "net.onnx",
        [conv("image", "w", "c"), node("Gemm", ["vector", "m", "bias"], ["y"], transB=1)],
        [taken("vector", ("n", 7)), taken("image")],
        [weight("w", 4, 3, 3, 3), weight("m", 5, 7), weight("bias", 5)],
        outs=("c", "y"),
    )
    found = profiled(path)
    assert found.cost.macs == CONV_MACS + 35
    assert found.cost.params == 4 * 27 + 35 + 5
    assert str(found.cost.input) == "32x32"
    assert found.notes == ("took the inputs 'vector' as 1x7, 'image' as 1x3x32x32",)


def test_channels_may_come_last(tmp_path):
    nodes = [node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]), conv("t", "w", "y")]
    inputs = [taken("image", ("n", "h", "w", 3))]
    held = [weight("w", 4, 3, 3, 3)]
    found = profiled(write(tmp_path / "net.onnx", nodes, inputs, held), ImageSize(16, 32))
    assert (found.cost.macs, str(found.cost.input)) == (CONV_MACS // 2, "16x32")


def _custom(tmp_path, *, stated):
    """A custom operator between two convolutions."""
    nodes = [
        conv("image", "w", "a"),
        helper.make_node("Fancy", ["a"], ["b"], name="fancy_7", domain="acme"),
        node("Relu", ["b"], ["r"]),
        conv("r", "v", "y"),
    ]
    return write(
        tmp_path / "net.onnx",
        nodes,
        [taken("image")],
        [weight("w", 4, 3, 3, 3), weight("v", 4, 4, 3, 3)],
        stated=[taken("b", (1, 4, 32, 32))] if stated else (),
    )


def test_an_unknown_operator_is_listed_with_its_node(tmp_path):
    found = profiled(_custom(tmp_path, stated=True))
    assert found.is_partial
    assert found.problem is None
    assert found.recording.uncounted == {"acme::Fancy": 1}
    assert found.notes == ("acme::Fancy was not counted (no formula for such calls), in fancy_7",)
    assert found.cost.macs == CONV_MACS + 32 * 32 * 4 * 36


def test_what_follows_an_unknown_operator_is_listed_where_its_shapes_are_unknown(tmp_path):
    found = profiled(_custom(tmp_path, stated=False))
    assert found.cost.macs == CONV_MACS
    assert found.cost.params == 4 * 27
    assert found.recording.uncounted == {"acme::Fancy": 1, "relu": 1, "convolution": 1}
    assert found.notes == ("acme::Fancy was not counted (no formula for such calls), in fancy_7",)
    said = str(found.problem)
    assert f"{tmp_path / 'net.onnx'}, fancy_7 (acme::Fancy): " in said
    assert "an operator that ONNX does not define" in said
    assert "1 operations are counted, 3 nodes are not" in said


def test_control_flow_is_listed(tmp_path):
    branch = helper.make_graph(
        [conv("image", "w", "inside")], "branch", [], [taken("inside", None)]
    )
    nodes = [
        node("ReduceMean", ["image"], ["mean"], keepdims=0),
        node("Greater", ["mean", "zero"], ["asks"]),
        node("If", ["asks"], ["either"], then_branch=branch, else_branch=branch),
        conv("either", "v", "y"),
    ]
    held = [
        weight("w", 4, 3, 3, 3),
        weight("v", 4, 4, 3, 3),
        numpy_helper.from_array(np.array(0, dtype=np.float32), "zero"),
    ]
    found = profiled(write(tmp_path / "net.onnx", nodes, [taken("image")], held))
    assert found.recording.uncounted == {"If": 1, "convolution": 1}
    assert found.cost.macs == 0
    assert "If_either (If)" in str(found.problem)
    assert "control flow" in str(found.problem)


def test_functions_of_the_file_are_counted(tmp_path):
    body = helper.make_function(
        "acme",
        "Twice",
        ["x", "w"],
        ["z"],
        [node("Conv", ["x", "w"], ["t"], pads=[1] * 4), node("Conv", ["t", "w"], ["z"])],
        [helper.make_opsetid("", 20)],
    )
    call = helper.make_node("Twice", ["image", "w"], ["y"], domain="acme", name="twice")
    path = write(
        tmp_path / "net.onnx", [call], [taken("image")], [weight("w", 3, 3, 3, 3)], functions=[body]
    )
    found = profiled(path)
    assert found.cost.macs == (32 * 32 + 30 * 30) * 81
    assert found.cost.params == 81
    assert not found.is_partial


def test_shapes_that_do_not_fit_are_told_with_the_size_to_pad_to(tmp_path):
    nodes = [
        node("Conv", ["image", "w"], ["a"], pads=[1] * 4, strides=[2, 2]),
        node("Resize", ["a", "", "scales"], ["b"], mode="nearest"),
        node("Add", ["image", "b"], ["y"]),
    ]
    held = [
        weight("w", 3, 3, 3, 3),
        numpy_helper.from_array(np.array([1, 1, 2, 2], dtype=np.float32), "scales"),
    ]
    path = write(tmp_path / "net.onnx", nodes, [taken("image", ("n", 3, "h", "w"))], held)
    found = profiled(path, ImageSize(63, 32))
    assert found.is_partial
    assert found.cost.macs == 32 * 16 * 81
    assert found.cost.params == 81
    said = str(found.problem)
    assert "Add_y (Add)" in said
    assert "of inputs 1x3x63x32, 1x3x64x32" in said
    assert "pad the image to 64x32" in said
    assert profiled(path, ImageSize(64, 32)).problem is None


def test_filters_that_do_not_fit_their_input_are_not_counted(tmp_path):
    path = write(
        tmp_path / "net.onnx",
        [conv("image", "w", "y")],
        [taken("image")],
        [weight("w", 4, 5, 3, 3)],
    )
    found = profiled(path)
    assert found.cost.macs == 0
    assert found.recording.uncounted == {"convolution": 1}


def test_a_value_that_nothing_puts_out_is_told(tmp_path):
    path = write(tmp_path / "net.onnx", [node("Relu", ["lost"], ["y"])], [taken("image")])
    assert "it reads 'lost', which nothing before it puts out" in str(profiled(path).problem)


@pytest.mark.parametrize(
    ("equation", "macs"),
    [("bchw,od->bchw", None), ("bchw,oc->bohw", 32 * 32 * 3 * 5), ("bchw,oc->bo", None)],
)
def test_a_product_by_indices_counts_if_it_is_simple(equation, macs, tmp_path):
    path = write(
        tmp_path / "net.onnx",
        [node("Einsum", ["image", "m"], ["y"], equation=equation)],
        [taken("image")],
        [weight("m", 5, 3)],
    )
    found = profiled(path)
    assert found.recording.uncounted == ({"einsum": 1} if macs is None else {})
    assert found.cost.macs == (macs or 0)


def test_quantised_weights_count(tmp_path):
    nodes = [
        node("DequantizeLinear", ["q", "scale"], ["w"]),
        conv("image", "w", "y"),
    ]
    held = [
        numpy_helper.from_array(np.ones((4, 3, 3, 3), dtype=np.int8), "q"),
        numpy_helper.from_array(np.array(0.5, dtype=np.float32), "scale"),
    ]
    found = profiled(write(tmp_path / "net.onnx", nodes, [taken("image")], held))
    assert (found.cost.macs, found.cost.params) == (CONV_MACS, 4 * 27)
    assert [op.kind for op in found.recording.ops] == ["convolution"]


def test_a_weight_that_is_used_twice_counts_once_and_parts_add_up(tmp_path):
    nodes = [conv("image", "w", "a"), conv("a", "w", "b"), node("Add", ["b", "shift"], ["y"])]
    held = [weight("w", 3, 3, 3, 3), weight("shift", 1, 3, 1, 1)]
    found = profiled(write(tmp_path / "net.onnx", nodes, [taken("image")], held))
    assert found.cost.params == 81 + 3
    for name in CONVENTIONS.keys() & found.cost.conventions.keys():
        assert sum(part.conventions[name] for part in found.parts) == found.cost.conventions[name]
    assert sum(part.params for part in found.parts) == found.cost.params
    assert [part.name for part in found.parts] == ["Conv_a", "Conv_b", "Add_y"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("plain", "holds an ONNX graph"),
        ("cut", "holds an ONNX graph"),
        ("empty", "got an empty file"),
        ("no nodes", "got a graph without nodes"),
        ("no input", "got a graph without inputs"),
        ("sequence", "an input is a tensor, got sequence"),
        ("free", "got no size for tokens"),
    ],
)
def test_what_cannot_be_counted_at_all_is_an_error(made, said, tmp_path):
    path = tmp_path / "net.onnx"
    held = [weight("w", 4, 3, 3, 3)]
    if made == "plain":
        path.write_text("a network, in words\n")
    elif made == "cut":
        whole = write(path, [conv("image", "w", "y")], [taken("image")], held).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif made == "empty":
        path.touch()
    elif made == "no nodes":
        write(path, [], [taken("image")])
    elif made == "no input":
        write(path, [node("Relu", ["w"], ["y"])], [], held)
    elif made == "sequence":
        images = helper.make_tensor_sequence_value_info("images", TensorProto.FLOAT, IMAGE)
        write(path, [node("Identity", ["images"], ["y"])], [images])
    else:
        write(path, [node("Relu", ["words"], ["y"])], [taken("words", (1, "tokens", 8))])
    with pytest.raises(BranchworkError) as caught:
        profiled(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_fixed_size_is_not_changed(tmp_path):
    path = write(
        tmp_path / "net.onnx",
        [conv("image", "w", "y")],
        [taken("image")],
        [weight("w", 4, 3, 3, 3)],
    )
    assert profiled(path, SIZE).cost.macs == CONV_MACS
    with pytest.raises(BranchworkError, match="leave --input out or write 32x32"):
        profiled(path, ImageSize(64, 64))


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "net.onnx", [node("Relu", ["image"], ["y"])], [taken("image")])
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(BranchworkError, match=r'pip install "branchwork\[export\]"'):
        profiled(path)


def test_files_are_told_by_their_suffix():
    assert is_onnx_file("some/net.ONNX")
    assert not is_onnx_file("net.json")
