"""Exported networks: the same outputs in other runtimes, readable names, nothing that is open."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from exported import RUNTIMES, check_close, check_export, forbidden, images, randomised, run
from onnx import helper
from torch import nn
from torch.nn import functional

from analysis import measure_cost
from analysis.onnx_file import profile_onnx
from blocks import ImageSize
from networks import PRESETS, canonical_json, spec_id
from networks.deploy.capturing import capture
from networks.deploy.onnx_calls import ExportError
from networks.deploy.onnx_writing import to_onnx

SMALL = ImageSize(64, 32)
TINY = ImageSize(16, 12)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_runtimes_are_there(runtime):
    if runtime not in RUNTIMES:
        pytest.skip(f"{runtime} is not installed, so no export was run in it")


@pytest.mark.parametrize("name", [name for name in PRESETS if "w48" not in name])
def test_presets(name):
    spec = PRESETS[name].make(4)
    model = check_export(randomised(spec.build(), SMALL), SMALL)
    assert [each.name for each in model.graph.input] == ["image"]
    assert [each.name for each in model.graph.output] == ["maps"]


@pytest.mark.parametrize("name", ["naive_lite_hrnet_18", "shufflenet_v2"])
def test_rewritten_networks_keep_their_addresses(name):
    module = randomised(PRESETS[name].make(4).build(), SMALL)
    model = check_export(module, SMALL, is_rewritten=True)
    addresses = {each.name.rpartition("/")[0].removeprefix("/") for each in model.graph.node}
    assert addresses <= {path for path, _ in module.named_modules() if path}


def test_a_shuffle_of_channels_is_written_as_what_runtimes_know():
    """A gather of maps costs OpenVINO two changes of layout; it knows a shuffle by its turn."""
    network = PRESETS["shufflenet_v2"].make(4).build()
    model = check_export(randomised(network, SMALL), SMALL)
    kinds = [node.op_type for node in model.graph.node]
    num_units = 4 + 8 + 4
    assert "Gather" not in kinds
    assert kinds.count("Transpose") == num_units


ORDERS = {
    "a shuffle": ([0, 3, 1, 4, 2, 5], "Transpose"),
    "the other shuffle": ([0, 2, 4, 1, 3, 5], "Transpose"),
    "nearly a shuffle": ([0, 3, 1, 4, 5, 2], "Gather"),
    "a shuffle of some": ([0, 3, 1, 4], "Gather"),
    "one twice": ([0, 0, 1, 1, 2, 2], "Gather"),
    "backwards": ([5, 4, 3, 2, 1, 0], "Gather"),
    "backwards by two": ([4, 2, 0, 5, 3, 1], "Gather"),
}


@pytest.mark.parametrize("name", ORDERS)
def test_orders_of_channels(name):
    order, written = ORDERS[name]
    module = nn.Sequential(
        nn.Conv2d(3, 6, 1), Function(lambda _, x: x[:, order]), nn.Conv2d(len(order), 4, 1)
    )
    kinds = {node.op_type for node in check_export(module.eval(), TINY).graph.node}
    assert kinds & {"Gather", "Transpose"} == {written}


def test_random_networks():
    """Some of them; more are run by ``python -m random_exports``."""
    from random_exports import check_many

    kinds, failures = check_many(15, 4)
    assert not failures
    assert len(kinds) > 25


@pytest.mark.parametrize("name", ["lite_hrnet_18", "small_hrnet_w16", "shufflenet_v2"])
def test_our_reader_counts_the_same(name, tmp_path):
    spec, path = PRESETS[name].make(4), tmp_path / "net.onnx"
    onnx.save(to_onnx(spec.build(), SMALL), path)
    profile = profile_onnx(path, None, SMALL)
    cost = measure_cost(spec, SMALL)
    assert (profile.cost.macs, profile.cost.params) == (cost.macs, cost.params)
    assert not profile.is_partial


def test_nodes_bear_addresses_and_weights_their_names():
    spec = PRESETS["lite_hrnet_18"].make(4)
    module = spec.build()
    model = to_onnx(module, SMALL)
    modules, state = dict(module.named_modules()), module.state_dict()
    addresses = {each.name.rpartition("/")[0].removeprefix("/") for each in model.graph.node}
    assert addresses <= set(modules)
    assert any(each.startswith("stages.0.units.0.body.0.block.0.") for each in addresses)
    conv = next(each for each in model.graph.node if each.op_type == "Conv")
    assert (conv.name, conv.input[1]) == ("/stem.conv.0.conv/Conv", "stem.conv.0.conv.weight")
    held = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    learnt = [name for name, _ in module.named_parameters()]
    assert set(learnt) <= set(held)
    assert all(np.array_equal(held[name], state[name].numpy()) for name in learnt)


def test_the_model_says_what_it_is():
    spec = PRESETS["mobilenet_v2"].make(4)
    model = to_onnx(spec.build(), SMALL, batch=2, name="mine", spec=spec, notes={"weights": "none"})
    held = {each.key: each.value for each in model.metadata_props}
    assert held["branchwork.spec"] == canonical_json(spec)
    assert held["branchwork.spec_id"] == spec_id(spec)
    assert (held["branchwork.input"], held["branchwork.batch"]) == ("64x32", "2")
    assert held["branchwork.weights"] == "none"
    assert json.loads(held["branchwork.spec"])
    assert (model.producer_name, model.graph.name) == ("branchwork", "mine")
    sides = [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]
    assert sides == [2, 3, 64, 32]


def test_a_captured_graph_is_taken_as_it_is():
    module = PRESETS["shufflenet_v2"].make(4).build()
    model = to_onnx(capture(module, SMALL), SMALL)
    assert model == to_onnx(module, SMALL)


def test_a_module_is_left_as_it_was():
    module = PRESETS["mobilenet_v2"].make(4).build().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    to_onnx(module, SMALL)
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


class Function(nn.Module):
    """A module out of a function."""

    def __init__(self, function, **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


OPERATORS = {
    "adaptive pooling, uneven": lambda _, x: functional.adaptive_avg_pool2d(x, (3, 5)),
    "adaptive pooling, even": lambda _, x: functional.adaptive_avg_pool2d(x, (4, 3)),
    "adaptive maximum": lambda _, x: functional.adaptive_max_pool2d(x, (4, 3)),
    "average, padded": lambda _, x: functional.avg_pool2d(x, 3, 2, 1),
    "average, padding left out": lambda _, x: functional.avg_pool2d(
        x, 3, 2, 1, count_include_pad=False
    ),
    "average, rounded up": lambda _, x: functional.avg_pool2d(x, 3, 2, ceil_mode=True),
    "average, divided otherwise": lambda _, x: functional.avg_pool2d(x, 2, divisor_override=3),
    "maximum, rounded up": lambda _, x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "maximum, dilated": lambda _, x: functional.max_pool2d(x, 3, 1, 1, dilation=2),
    "nearest, by scale": lambda _, x: functional.interpolate(x, scale_factor=1.5),
    "nearest, by size": lambda _, x: functional.interpolate(x, size=(23, 31)),
    "bilinear": lambda _, x: functional.interpolate(x, size=(9, 31), mode="bilinear"),
    "bilinear, by scale": lambda _, x: functional.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "bilinear, aligned": lambda _, x: functional.interpolate(
        x, size=(23, 7), mode="bilinear", align_corners=True
    ),
    "shuffle": lambda _, x: functional.channel_shuffle(torch.cat([x, x + 1], 1), 3),
    "pixel shuffle": lambda _, x: functional.pixel_shuffle(
        torch.cat([x, x * x, -x, x.exp()], 1), 2
    ),
    "pixel unshuffle": lambda _, x: functional.pixel_unshuffle(x, 2),
    "channels in any order": lambda _, x: x[:, [2, 0, 1, 1]] * 2 + x[:, :1],
    "slices with steps": lambda _, x: x[:, :, 1::2, -5:-1],
    "one column": lambda _, x: x[..., 3],
    "stack": lambda _, x: torch.stack([x.mean(3), x.amax(3)], 1),
    "unbind": lambda _, x: sum(part * (index + 1) for index, part in enumerate(x.unbind(1))),
    "uneven split": lambda _, x: torch.cat(x.split([1, 2], 1)[::-1], 1).sigmoid(),
    "repeat": lambda _, x: x.repeat(1, 2, 1, 1),
    "expand": lambda _, x: x.mean((2, 3), keepdim=True).expand(-1, -1, 5, 4) + 1,
    "padding": lambda _, x: functional.pad(x, (1, 2, 3, 0), value=0.5),
    "reflection": lambda _, x: functional.pad(x, (1, 2, 3, 0), mode="reflect"),
    "edges": lambda _, x: functional.pad(x, (1, 2, 3, 0), mode="replicate"),
    "sums": lambda _, x: x.sum((1, 3)) + x.mean(),
    "activations": lambda _, x: torch.cat(
        [
            functional.silu(x),
            functional.hardswish(x),
            functional.hardsigmoid(x),
            functional.leaky_relu(x, 0.2),
            functional.elu(x, 0.7),
            functional.mish(x),
            functional.softplus(x, 2),
            functional.gelu(x, approximate="tanh"),
            functional.relu6(x),
            x.clamp(min=-0.5),
            x.tanh() ** 2,
        ],
        1,
    ),
    "arithmetic": lambda _, x: (1 - x) / (x.abs() + 1).rsqrt() - torch.add(x, x, alpha=0.5),
    "softmax": lambda _, x: x.softmax(1).log() + x.log_softmax(1),
    "attention": lambda _, x: functional.scaled_dot_product_attention(x, x + 1, x - 1),
    "group norm": lambda self, x: self.norm(torch.cat([x, x * 2], 1)),
    "linear": lambda self, x: self.linear(x) + self.linear(x.mean(2)).unsqueeze(2),
    "transposed": lambda self, x: self.transposed(x),
    "prelu": lambda self, x: self.prelu(x),
    "the image itself": lambda _, x: x,
    "several": lambda _, x: [x, x.relu(), (x.relu() + 1)],
    "the same twice": lambda _, x: [y := x.relu(), y],
}
"""Operators that no block of ours uses, but that one from elsewhere may."""


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_of_blocks_from_elsewhere(name):
    module = Function(
        OPERATORS[name],
        norm=nn.GroupNorm(2, 6),
        linear=nn.Linear(TINY.width, 5),
        transposed=nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1, bias=False),
        prelu=nn.PReLU(3),
    )
    check_export(module.eval(), TINY, batch=2)


def test_several_outputs_are_numbered():
    model = to_onnx(Function(OPERATORS["several"]), TINY)
    assert [each.name for each in model.graph.output] == ["maps_0", "maps_1", "maps_2"]


def test_everything_that_cannot_be_written_is_said():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real + x.sort(1).values

    with pytest.raises(ExportError) as raised:
        to_onnx(nn.Sequential(Odd(), nn.ReLU()), TINY)
    texts = [str(problem) for problem in raised.value.problems]
    assert any(text.startswith("0: ") and "sort" in text for text in texts)
    assert any("fft" in text for text in texts)


def test_five_dimensions_are_refused():
    def windows(_, x):
        return x.reshape(1, 3, 4, 4, 12).permute(0, 2, 1, 3, 4).relu().flatten(1)

    with pytest.raises(ExportError, match="at most four dimensions"):
        to_onnx(nn.Sequential(Function(windows)), TINY)


def test_a_causal_mask_is_refused():
    def causal(_, x):
        return functional.scaled_dot_product_attention(x, x, x, is_causal=True)

    with pytest.raises(ExportError, match="causal"):
        to_onnx(Function(causal), TINY)


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    from blocks import BranchworkError

    with pytest.raises(BranchworkError, match=r'pip install "branchwork\[export\]"'):
        to_onnx(nn.ReLU(), TINY)


@pytest.mark.skipif(not RUNTIMES, reason="neither onnxruntime nor openvino is installed")
def test_a_wrong_file_would_be_noticed():
    module = randomised(PRESETS["mobilenet_v2"].make(4).build(), SMALL)
    model = to_onnx(module, SMALL)
    image = images(SMALL)
    with torch.no_grad():
        want = module(image).numpy()
    bias = next(each for each in model.graph.initializer if each.name.endswith("running_mean"))
    moved = onnx.numpy_helper.to_array(bias) + 0.05
    bias.CopyFrom(onnx.numpy_helper.from_array(moved, bias.name))
    for runtime in RUNTIMES:
        with pytest.raises(AssertionError):
            check_close(runtime, run(runtime, model, image)[0], want)


def test_what_is_forbidden_would_be_noticed():
    model = to_onnx(PRESETS["lite_hrnet_18"].make(4).build(), SMALL)
    assert forbidden(model) == []
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    model.graph.node.append(helper.make_node("ScatterND", ["a", "b", "c"], ["d"], name="odd"))
    assert {text.partition(": ")[2] for text in forbidden(model)} == {
        "an open side",
        "ScatterND",
        "no shape of d",
    }
