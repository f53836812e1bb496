"""What is done last for other runtimes: the same outputs, in operators that they like."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from drawn_specs import specs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blocks import ImageSize
from networks import PRESETS, rewrite
from networks.deploy.apart import keep_apart
from networks.deploy.capturing import capture
from networks.deploy.channels import as_channels
from networks.deploy.cuts import find_cuts
from networks.deploy.factors import factors_to_convolutions
from networks.deploy.finishing import finish
from networks.deploy.late import gate_late
from networks.deploy.overwriting import make_new, overwrite
from networks.deploy.padding import pad_hidden
from networks.deploy.points import points_to_products
from networks.deploy.pools import means_to_convolutions
from networks.deploy.slices import merge_slices

SIZE = ImageSize(8, 8)
BLOCKED = pytest.mark.parametrize("blocked", [False, True])
aten = torch.ops.aten
WHOLE = [
    keep_apart,
    factors_to_convolutions,
    gate_late,
    pad_hidden,
    points_to_products,
    means_to_convolutions,
    merge_slices,
    overwrite,
]


def applied(step, graph):
    """Applies a step; those that ask for the size of blocks get 16."""
    return (
        step(graph, 16) if step in (keep_apart, pad_hidden, means_to_convolutions) else step(graph)
    )


def share_off(module, made, size, batch=1):
    """The largest difference, as a share of the largest output."""
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(batch, 3, size.height, size.width, generator=generator).double()
    with torch.no_grad():
        expected, got = module(image), made(image)
    assert expected.shape == got.shape
    return ((got - expected).abs().max() / expected.abs().max()).item()


def targets(graph):
    """How often each operator is called."""
    found = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    return {target: found.count(target) for target in set(found)}


def shortened(name, num_outputs):
    """A preset without its last stage, which does nothing that the others do not."""
    spec = PRESETS[name].make(num_outputs)
    return replace(spec, stages=spec.stages[:2])


@pytest.mark.parametrize("name", ["lite_hrnet_18", "shufflenet_v2"])
def test_presets_put_out_the_same(name):
    size = ImageSize(64, 64)
    module = shortened(name, 5).build().double().eval()
    rewritten = rewrite(module, size)
    for blocked in (False, True):
        assert share_off(module, finish(rewritten, blocked=blocked), size) < 1e-13


def test_one_channel_of_many_is_not_taken_for_a_filtered_one():
    size = ImageSize(32, 32)
    module = PRESETS["small_hrnet_w16"].make(1).build().double().eval()
    rewritten = rewrite(module, size)
    for blocked in (False, True):
        assert share_off(module, finish(rewritten, blocked=blocked), size) < 1e-13


@settings(deadline=None, max_examples=4)
@given(drawn=specs(), batch=st.sampled_from([1, 2]))
def test_any_network_puts_out_the_same(drawn, batch):
    size = ImageSize(drawn.coarsest_stride * 2, drawn.coarsest_stride)
    module = drawn.build().double().eval()
    rewritten = as_channels(rewrite(module, size, batch=batch))
    for blocked in (False, True):
        assert share_off(module, finish(rewritten, blocked=blocked), size, batch) < 1e-10


def test_in_blocks_nothing_is_taken_apart():
    module = shortened("lite_hrnet_18", 17).build()
    made = finish(rewrite(module, ImageSize(128, 96)), blocked=True)
    found = targets(made)
    assert "aten.slice.Tensor" not in found
    # The stem's two paths are whole blocks.
    assert found["aten.cat.default"] == 1
    assert all(node.kwargs.get("alpha", 1) == 1 for node in made.graph.nodes)
    for node in made.graph.nodes:
        if node.target is aten.mean.dim:
            assert node.meta["shape"][1] % 16 == 0
        if node.target is aten.mul.Tensor:
            first, second = node.args
            assert first.meta["shape"] == second.meta["shape"]


class Layers(nn.Module):
    """Runs a function over layers that many tests need."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.other = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.filter = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.grouped = nn.Conv2d(16, 8, 1, groups=2)
        self.mixed = nn.Conv2d(16, 6, 1)
        self.last = nn.Conv2d(6, 8, 1)
        self.narrow = nn.Conv2d(8, 3, 1)
        self.widen = nn.Conv2d(3, 8, 1)
        self.function = function

    def forward(self, image):
        return self.function(self, self.conv(image), self.other(image))

    def gate(self, x):
        return torch.sigmoid(self.widen(F.relu(self.narrow(x.mean((2, 3), keepdim=True)))))


def _up(x):
    return F.interpolate(x, scale_factor=2.0)


FUNCTIONS = {
    "a concatenation that is mixed": lambda n, x, y: n.mixed(torch.cat([x, _up(y)], 1)),
    "a concatenation that is put out": lambda _n, x, y: torch.cat([F.relu(x), _up(y)], 1),
    "a filter of a concatenation": lambda n, x, y: n.mixed(n.filter(torch.cat([x, _up(y)], 1))),
    "groups across parts": lambda n, x, y: n.grouped(torch.cat([x[:, :4], _up(y), x[:, 4:]], 1)),
    "every other channel": lambda _n, x, _y: F.relu(x)[:, ::2] + 1,
    "the last channels": lambda _n, x, _y: F.relu(x)[:, -4:] * 2,
    "slices that overlap": lambda _n, x, _y: x[:, :6] * x[:, 2:],
    "slices of three channels": lambda _n, x, _y: torch.cat([x[:, :3] * 2, F.relu(x[:, 3:])], 1),
    "products of other slices": lambda _n, x, y: torch.cat(
        [x[:, :4] * (up := _up(y))[:, 4:], x[:, 4:] * up[:, :4]], 1
    ),
    "products of the same slices": lambda _n, x, y: torch.cat(
        [F.relu(x[:, :4] * (up := _up(y))[:, :4]), x[:, 4:] * up[:, 4:]], 1
    ),
    "squares of slices": lambda _n, x, _y: (x[:, :4] * x[:, :4], x[:, 4:] * x[:, 4:]),
    "slices upsampled in two ways": lambda _n, _x, y: (
        _up(y[:, :4]),
        F.interpolate(y[:, 4:], scale_factor=4.0),
    ),
    "slices upsampled in one way": lambda _n, x, y: (_up(y[:, :4]) + x[:, 4:], _up(y[:, 4:])),
    "sums of slices with factors": lambda _n, x, y: (
        torch.add(x[:, :4], (up := _up(y))[:, :4], alpha=2),
        torch.add(x[:, 4:], up[:, 4:], alpha=3),
    ),
    "a factor on a gated term": lambda n, x, y: torch.add(_up(y), x * n.gate(x), alpha=2),
    "a factor on a term that is read": lambda n, x, y: (
        torch.add(_up(y), gated := x * n.gate(x), alpha=2),
        gated,
    ),
    "a factor on one row": lambda _n, x, _y: torch.add(x, x.mean(2, keepdim=True), alpha=2),
    "a gate of some channels": lambda n, x, _y: x[:, :4] * n.gate(x)[:, 4:],
    "one gate for all channels": lambda _n, x, _y: x * x.mean((1, 2, 3), keepdim=True),
    "a mean without places": lambda _n, x, _y: x.mean((2, 3)),
    "a mean over channels": lambda _n, x, _y: x.mean(1, keepdim=True) * x,
    "hidden channels that are read": lambda n, x, y: (
        n.last(hidden := F.relu(n.mixed(torch.cat([x, _up(y)], 1)))),
        hidden,
    ),
    "hidden channels behind a sigmoid": lambda n, x, y: n.last(
        torch.sigmoid(n.mixed(torch.cat([x, _up(y)], 1)))
    ),
    "hidden channels without activation": lambda n, x, y: n.last(
        n.mixed(torch.cat([x, _up(y)], 1))
    ),
    "weights that are gated": lambda n, x, y: (
        x[:, :4] * _up((weights := y * n.gate(y))[:, :4]) + 1,
        torch.sigmoid(x[:, 4:]) * _up(weights[:, 4:]),
    ),
    "weights that are gated, and read": lambda n, x, y: (
        x[:, :4] * _up((weights := y * n.gate(y))[:, :4]),
        F.relu(weights),
    ),
    "gated maps times themselves": lambda n, x, _y: (gated := x * n.gate(x)) * gated,
    "gated maps times one row": lambda n, x, _y: x * n.gate(x) * x.mean(2, keepdim=True),
    "a gate": lambda n, x, _y: x * n.gate(x),
    "what is read again": lambda _n, x, _y: F.relu(x) + x,
    "what is added to itself": lambda _n, x, _y: F.relu(x + x),
    "what is a view of another": lambda _n, x, _y: (F.relu(x[:, :4]), x + 1),
    "what was averaged before": lambda _n, x, _y: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "what is scaled and read": lambda _n, x, y: (torch.add(up := _up(y), x, alpha=2), F.relu(up)),
    "whole numbers that become others": lambda _n, x, _y: (
        torch.cat([x.argmax(1, keepdim=True)] * 8, 1) * x
    ),
    "what is put out and read": lambda _n, x, _y: (part := F.relu(x) + 1, torch.sigmoid(part)),
    "a sliced gate": lambda n, x, _y: (x[:, :4] * n.gate(x)[:, :4], x[:, 4:] + n.gate(x)[:, 4:]),
}


def check(module, made):
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(4)).double()
    with torch.no_grad():
        pairs = zip(*map(_several, (module(image), made(image))), strict=True)
    for one, other in pairs:
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def _several(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("step", WHOLE)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_step_keeps_outputs(name, step):
    module = Layers(FUNCTIONS[name]).double().eval()
    check(module, applied(step, as_channels(capture(module, SIZE))))


@BLOCKED
@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_steps_keep_outputs(name, blocked):
    module = Layers(FUNCTIONS[name]).double().eval()
    check(module, finish(as_channels(rewrite(module, SIZE)), blocked=blocked))


def made_of(name, step):
    module = Layers(FUNCTIONS[name]).double().eval()
    return targets(applied(step, as_channels(capture(module, SIZE))))


def test_a_concatenation_becomes_a_sum():
    found = made_of("a concatenation that is mixed", keep_apart)
    assert "aten.cat.default" not in found
    assert found["aten.convolution.default"] == 4


def test_parts_that_are_no_quarters_of_blocks_stay_together():
    found = made_of("slices of three channels", keep_apart)
    assert found["aten.slice.Tensor"] == 2


def test_slices_are_multiplied_and_upsampled_once():
    assert made_of("products of the same slices", merge_slices)["aten.mul.Tensor"] == 1
    found = made_of("slices upsampled in one way", merge_slices)
    assert sum(count for name, count in found.items() if "upsample" in name) == 1


def test_gates_are_products_of_vectors():
    found = made_of("a sliced gate", points_to_products)
    assert found["aten.linear.default"] == 4


def test_gates_come_late():
    module = Layers(FUNCTIONS["weights that are gated"]).double().eval()
    made = gate_late(as_channels(capture(module, SIZE)))
    assert all(
        node.meta["shape"][2:] == (8, 8)
        for node in made.graph.nodes
        if node.target is aten.mul.Tensor
    )


def test_hidden_channels_are_whole_blocks():
    module = Layers(FUNCTIONS["a gate"]).double().eval()
    made = pad_hidden(capture(module, SIZE), 16)
    assert [
        node.meta["shape"][1] for node in made.graph.nodes if node.target is aten.relu.default
    ] == [16]


def test_cuts_pass_through_what_works_on_each_channel():
    graph = as_channels(capture(Layers(FUNCTIONS["a filter of a concatenation"]), SIZE))
    cuts = find_cuts(graph.graph.nodes, 16, 4)
    assert [8] in [cuts[node] for node in cuts if node.target is aten.convolution.default]
    assert not any(find_cuts(graph.graph.nodes, 8, 4).values())


def test_only_what_nobody_reads_any_more_is_written_over():
    def written_over(name):
        return sum(count for target, count in made_of(name, overwrite).items() if "_." in target)

    assert written_over("what is read again") == 1
    assert written_over("what is added to itself") == 1
    assert written_over("what is a view of another") == 0
    assert written_over("what was averaged before") == 2
    assert written_over("what is put out and read") == 1
    assert written_over("whole numbers that become others") == 0


def test_what_was_written_over_is_made_anew_with_operands_where_they_were():
    module = Layers(lambda n, x, y: (F.relu(up := _up(y)) + x, n.gate(x) * x, up)).double().eval()
    graph = as_channels(capture(module, SIZE))
    before = [(node.target, str(node.args)) for node in graph.graph.nodes]
    over = overwrite(graph)
    assert [(node.target, str(node.args)) for node in graph.graph.nodes] == before
    assert [str(node.args) for node in over.graph.nodes] != [args for _, args in before]
    assert [(node.target, str(node.args)) for node in make_new(over).graph.nodes] == before


def test_a_network_that_writes_over_puts_out_the_same_twice():
    size = ImageSize(32, 32)
    made = rewrite(shortened("lite_hrnet_18", 5).build().eval(), size)
    assert {"aten.relu_.default", "aten.add_.Tensor", "aten.mul_.Tensor"} <= targets(made).keys()
    image = torch.randn(1, 3, 32, 32)
    kept = image.clone()
    constants = [each.clone() for each in made.buffers()]
    with torch.no_grad():
        first = made(image).clone()
        assert torch.equal(made(image), first)
    assert torch.equal(image, kept)
    assert all(map(torch.equal, made.buffers(), constants))
