"""What is finished for runtimes that keep the channels of a place side by side."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from weighted_network import CONVOLUTION, captured, check, count, up

from blocks import ImageSize
from networks import PRESETS, rewrite
from networks.deploy.accumulating import is_accumulated
from networks.deploy.finishing import finish
from networks.deploy.heads import heads_to_products
from networks.deploy.pairs import part_pairs
from networks.deploy.picks import picks_to_convolutions
from networks.deploy.rows import multiply_rows

STEPS = [
    multiply_rows,
    part_pairs,
    heads_to_products,
    lambda graph: picks_to_convolutions(graph, 64),
    lambda graph: finish(graph, blocked=False),
]
aten = torch.ops.aten
UPSAMPLING = aten.upsample_nearest2d.default


def _weighted(net, fine, coarse):
    weights = net.weights(coarse)
    return net.mixed(fine * up(weights[:, :4])), coarse[:, :5] * weights[:, 4:]


def _gated(net, fine, coarse):
    weights = net.weights(coarse)
    return net.mixed(fine * up(weights[:, :4]) * net.gate(fine)), weights[:, 4:] + 1


def _three_scales(net, fine, coarse):
    weights = net.weights(F.avg_pool2d(coarse, 2))
    return (
        net.mixed(up(weights[:, :4], 4.0) * fine),
        coarse[:, :2] * up(weights[:, 4:6]),
        weights[:, 6:] * 2,
    )


def _accumulated(net, fine, coarse):
    maps = F.relu(net.mixed(fine) + fine)
    return maps * up(net.weights(coarse)[:, :4])


FOUND = {
    "weights of two branches": (_weighted, 1),
    "weights and a gate": (_gated, 1),
    "weights of three branches": (_three_scales, 2),
    # The second product stays, as nobody but its sum and the first one reads the maps.
    "maps that are accumulated behind others": (
        lambda n, x, y: F.relu(n.mixed(x * up(n.weights(y)[:, :4])) + x) * up(n.weights(y)[:, 4:8]),
        1,
    ),
    "weights and one gate for all images": (
        lambda n, x, y: n.mixed(x * up(n.weights(y)[:, :4]) * n.last.weight[:1].sigmoid()),
        1,
    ),
    "all that a convolution makes": (
        lambda n, _x, y: torch.cat([y, y], 1)[:, :9] * up(F.relu(n.cross(F.avg_pool2d(y, 2)))),
        1,
    ),
    "maps and weights of the same maps": (
        lambda n, x, _y: x * up(torch.sigmoid(n.gating(F.avg_pool2d(x, (2, 4)))), (2.0, 4.0)),
        1,
    ),
}
LEFT = {
    "weights that are read": lambda n, x, y: (x * up((w := n.weights(y))[:, :4]), w + 1),
    "overlapping weights": lambda n, x, y: (
        x * up((w := n.weights(y))[:, :4]),
        y[:, :6] * w[:, 3:],
    ),
    "weights that are smooth": lambda n, x, y: x * up(n.weights(y)[:, :4], mode="bilinear"),
    "weights of other columns": lambda n, x, y: (
        x * F.interpolate(n.weights(y)[:, :4], (8, 16), mode="nearest-exact")
    ),
    "a factor that is not whole": lambda n, x, y: x * up(n.weights(y)[:, :4], 2.1),
    "columns that do not fit": lambda n, x, y: (
        x[..., :15] * F.interpolate(n.weights(y)[:, :4], (8, 15))
    ),
    "upsampled weights that are read": lambda n, x, y: x * (w := up(n.weights(y)[:, :4])) + w,
    "upsampled weights that are squared": lambda n, _x, y: (w := up(n.weights(y)[:, :4])) * w,
    "weights that are added": lambda n, x, y: x + up(n.weights(y)[:, :4]),
    "weights times one row": lambda n, x, y: x.mean(2, keepdim=True) * up(n.weights(y)[:, :4]),
    "one weight for all channels": lambda n, x, y: x * up(n.weights(y)[:, :1]),
    "one row of weights": lambda n, x, y: x * F.interpolate(n.weights(y)[:, :4, :1], (1, 16)),
    "weights of a single place": lambda n, x, y: (
        x * F.interpolate(n.weights(y.mean((2, 3), keepdim=True))[:, :4], (8, 16))
    ),
    "weights that are repeated too often": lambda n, x, y: (
        x * F.interpolate(n.weights(y[:, :, :, :1])[:, :4], (8, 16))
    ),
    "products of products": lambda n, x, y: x * up((w := n.weights(y))[:, :4]) * up(w[:, 4:8]),
    "weights of weights": lambda n, _x, y: up((w := n.weights(y))[:, :4]) * up(w[:, 4:8]),
    "weights times a number": lambda n, _x, y: up(n.weights(y)[:, :4]) * 3,
    "maps that are accumulated": _accumulated,
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", [*FOUND, *LEFT])
def test_each_step_keeps_outputs(name, step, batch):
    function = FOUND[name][0] if name in FOUND else LEFT[name]
    module, graph = captured(function, batch)
    check(module, step(graph), batch)


@pytest.mark.parametrize("name", FOUND)
def test_weights_are_not_upsampled(name):
    function, num_found = FOUND[name]
    _, graph = captured(function)
    made = multiply_rows(graph)
    assert count(graph, UPSAMPLING) - count(made, UPSAMPLING) == num_found
    assert count(made, CONVOLUTION) == count(graph, CONVOLUTION)


@pytest.mark.parametrize("name", LEFT)
def test_other_upsamplings_stay(name):
    _, graph = captured(LEFT[name])
    assert str(multiply_rows(graph).graph) == str(graph.graph)


def test_gates_of_several_images_stay_in_one_pass():
    _, graph = captured(_gated, batch=2)
    assert count(multiply_rows(graph), UPSAMPLING) == 1
    _, graph = captured(_weighted, batch=2)
    assert count(multiply_rows(graph), UPSAMPLING) == 0


SUMS = {
    "a convolution first": (lambda n, x, _y: F.relu(n.mixed(x) + x), True),
    "a convolution last": (lambda n, x, _y: F.relu(x + n.mixed(x)), True),
    "what is read before": (lambda n, x, _y: (F.relu(n.mixed(x + 1) + x * 2), x - 3), True),
    "what others read": (lambda n, x, _y: (F.relu(n.mixed(x) + x), torch.tanh(x)), False),
    "a sum that is read": (lambda n, x, _y: F.relu(total := n.mixed(x) + x) + total, False),
    "a convolution that is read": (lambda n, x, _y: F.relu((c := n.mixed(x)) + x) + c, False),
    "no convolution": (lambda n, x, y: F.relu(x * n.gate(x) + up(y[:, :4])), False),
    # The product is computed in one pass with the sum in which it is, and others read it.
    "a product that others read": (
        lambda n, x, y: (
            F.relu(n.mixed(x) + ((gated := x * n.gate(x)) + up(y[:, :4]))),
            torch.tanh(gated),
        ),
        False,
    ),
    "a convolution in between": (
        lambda n, x, y: (
            F.relu(n.mixed(x) + (n.gating(x) + (gated := x * n.gate(x)))),
            torch.tanh(gated),
        ),
        True,
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_accumulated_maps_are_told(name):
    function, is_told = SUMS[name]
    _, graph = captured(function)
    activations = [node for node in graph.graph.nodes if node.target is aten.relu.default]
    assert is_accumulated(activations[-1]) is is_told


def test_pairs_are_computed_apart():
    _, graph = captured(_weighted)
    made = part_pairs(graph)
    slices = aten.slice.Tensor
    assert count(graph, CONVOLUTION) + 1 == count(made, CONVOLUTION)
    assert count(graph, slices) - 2 == count(made, slices)
    _, graph = captured(_three_scales)
    assert str(part_pairs(graph).graph) == str(graph.graph)


def test_pairs_of_vectors_stay():
    _, graph = captured(lambda n, x, y: (x[:, :2] * (g := n.gate(x))[:, :2], y[:, :2] * g[:, 2:]))
    assert str(part_pairs(graph).graph) == str(graph.graph)


def test_only_what_is_put_out_alone_becomes_a_product():
    _, graph = captured(lambda n, x, _y: (n.last(x), n.mixed(x)))
    made = heads_to_products(graph)
    assert count(made, aten.matmul.default) == 1
    assert count(graph, CONVOLUTION) - count(made, CONVOLUTION) == 1
    _, graph = captured(lambda n, x, _y: (last := n.last(x), F.relu(last)))
    assert str(heads_to_products(graph).graph) == str(graph.graph)


def test_lite_hrnet_upsamples_in_fusions_alone():
    spec = PRESETS["lite_hrnet_18"].make(5)
    size = ImageSize(64, 64)
    made = finish(rewrite(replace(spec, stages=spec.stages[:2]).build(), size), blocked=False)
    places = [node.meta["address"] for node in made.graph.nodes if node.target is UPSAMPLING]
    weighted = [place for place in places if "block" in place]
    # One branch of the second stage's first block is accumulated by the fusion before.
    assert weighted == ["stages.1.units.0.body.0.block.0"]
    assert len(places) > len(weighted)
