"""What is finished for runtimes that keep the channels of a place side by side."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from blocks import ImageSize
from networks import PRESETS, rewrite
from networks.deploy.accumulating import is_accumulated
from networks.deploy.capturing import capture
from networks.deploy.channels import as_channels
from networks.deploy.finishing import finish
from networks.deploy.heads import heads_to_products
from networks.deploy.late import gate_late
from networks.deploy.pairs import part_pairs
from networks.deploy.picks import convolutions_to_picks, picks_to_convolutions
from networks.deploy.rows import multiply_rows

SIZE = ImageSize(8, 16)


def pick(graph):
    return picks_to_convolutions(graph, 64)


STEPS = [
    multiply_rows,
    part_pairs,
    heads_to_products,
    pick,
    lambda graph: finish(graph, blocked=False),
]
aten = torch.ops.aten
UPSAMPLING = aten.upsample_nearest2d.default
CONVOLUTION = aten.convolution.default


class Weighted(nn.Module):
    """Runs a function over fine maps and coarse ones, of which a convolution makes weights."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(7)
        self.fine = nn.Conv2d(3, 4, 3, padding=1)
        self.coarse = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.cross = nn.Conv2d(6, 9, 1)
        self.mixed = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 5, 1)
        self.gating = nn.Conv2d(4, 4, 1)
        self.function = function

    def forward(self, image):
        fine, coarse = self.fine(image), F.relu(self.coarse(image))
        return self.function(self, fine, coarse)

    def weights(self, coarse):
        return torch.sigmoid(self.cross(coarse))

    def gate(self, fine):
        return torch.sigmoid(self.gating(fine.mean((2, 3), keepdim=True)))


def up(maps, scale=2.0, mode="nearest"):
    return F.interpolate(maps, scale_factor=scale, mode=mode)


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


def captured(function, batch=1):
    module = Weighted(function).double().eval()
    return module, gate_late(as_channels(capture(module, SIZE, batch=batch)))


def count(graph, target):
    return sum(node.target is target for node in graph.graph.nodes)


def check(module, made, batch=1):
    generator = torch.Generator().manual_seed(4)
    image = torch.randn(batch, 3, SIZE.height, SIZE.width, generator=generator).double()
    with torch.no_grad():
        expected, got = module(image), made(image)
    several = isinstance(expected, tuple)
    pairs = zip(expected, got, strict=True) if several else [(expected, got)]
    for one, other in pairs:
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


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


PICKED = torch.tensor([3, 0, 0, 2])


def test_channels_are_picked_by_a_convolution():
    module, graph = captured(lambda _n, x, _y: F.relu(x).index_select(1, PICKED))
    made = pick(graph)
    check(module, made)
    assert count(made, aten.index_select.default) == 0
    assert count(made, CONVOLUTION) == count(graph, CONVOLUTION) + 1
    assert str(picks_to_convolutions(graph, 3).graph) == str(graph.graph)
    _, graph = captured(lambda _n, x, _y: F.relu(x).index_select(2, PICKED))
    assert str(pick(graph).graph) == str(graph.graph)


def test_whole_numbers_are_picked_as_they_are():
    module, graph = captured(lambda _n, x, _y: x.argsort(1).index_select(1, PICKED) * x)
    check(module, pick(graph))
    assert count(pick(graph), aten.index_select.default) == 1


def test_convolutions_that_pick_can_be_undone():
    module, graph = captured(lambda _n, x, _y: F.relu(x).index_select(1, PICKED))
    made = convolutions_to_picks(pick(graph))
    check(module, made)
    targets = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert [node.target for node in made.graph.nodes if node.op == "call_function"] == targets
    indices = [each for name, each in made.named_buffers() if name.endswith("index")]
    assert torch.equal(indices[0], PICKED)


def test_a_network_s_own_convolutions_pick_nothing():
    _, graph = captured(lambda n, x, _y: F.relu(n.last(x)))
    with torch.no_grad():
        for name, each in graph.named_buffers():
            if name.startswith("last"):
                each.zero_()
            if name == "last.weight":
                each[:, 0] = 1
    assert count(convolutions_to_picks(graph), aten.index_select.default) == 0


class Picking(nn.Module):
    """Picks channels, beside a constant of the name that the pick would get."""

    def __init__(self):
        super().__init__()
        self.register_buffer("pick", torch.arange(8.0).reshape(1, 8, 1, 1))
        self.wide = nn.Conv2d(3, 4, 1)

    def forward(self, image):
        return self.wide(image).index_select(1, PICKED) * self.pick[:, :4].double().float() + 1


def test_a_constant_of_the_same_name_is_not_in_the_way():
    module = Picking().eval()
    for made in (rewrite(module, SIZE), pick(as_channels(capture(module, SIZE)))):
        image = torch.randn(1, 3, SIZE.height, SIZE.width)
        with torch.no_grad():
            assert torch.allclose(made(image), module(image), atol=1e-5)
        names = {name for name, _ in made.named_buffers()}
        assert not any(f"{name}.weight" in names for name in names)


@pytest.mark.parametrize("converted", [torch.float64, torch.bfloat16])
def test_a_rewritten_network_may_be_given_other_numbers(converted):
    module = Picking().eval()
    made = finish(rewrite(module, SIZE).to(converted), blocked=False)
    image = torch.randn(1, 3, SIZE.height, SIZE.width)
    with torch.no_grad():
        got = made(image.to(converted)).float()
        assert torch.allclose(got, module(image), atol=0.2, rtol=0.02)


DOUBLE = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Scaling(nn.Module):
    """Has constants of another type than the image alone."""

    def __init__(self, function):
        super().__init__()
        self.register_buffer("scale", DOUBLE)
        self.function = function

    def forward(self, image):
        return self.function(image, self.scale)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, scale: F.relu(x) * scale,
        lambda x, scale: (x * scale, x.sin().index_select(1, torch.tensor([2, 1, 0])).sin()),
        lambda x, scale: x.index_select(1, torch.tensor(2)).sin() * scale,
    ],
)
def test_constants_of_another_type_alone_are_no_conversion(function):
    module = Scaling(function).eval()
    made = rewrite(module, SIZE)
    image = torch.randn(1, 3, SIZE.height, SIZE.width)
    with torch.no_grad():
        expected, got = module(image), made(image)
    pairs = zip(expected, got, strict=True) if isinstance(expected, tuple) else [(expected, got)]
    for one, other in pairs:
        assert one.dtype is other.dtype
        assert torch.allclose(one, other)


def test_picked_numbers_keep_their_type():
    constant = torch.ones(1, 4, 1, 1, dtype=torch.float64)

    def function(_net, fine, _coarse):
        return fine.double() * constant, F.relu(fine).index_select(1, PICKED)

    module = Weighted(function).eval()
    made = pick(as_channels(capture(module, SIZE)))
    image = torch.randn(1, 3, SIZE.height, SIZE.width)
    with torch.no_grad():
        for one, other in zip(made(image), module(image), strict=True):
            assert one.dtype is other.dtype
            assert torch.equal(one, other)


def picked_from(graph):
    picks = [node for node in graph.graph.nodes if node.target is aten.index_select.default]
    return [node.args[0].meta["shape"][1] for node in picks]


def test_a_network_of_shuffles_picks_by_convolutions():
    size = ImageSize(64, 64)
    module = PRESETS["naive_lite_hrnet_18"].make(5).build().double().eval()
    rewritten = rewrite(module, size)
    made = finish(rewritten, blocked=False)
    assert min(picked_from(finish(rewritten, blocked=True))) <= 64
    assert min(picked_from(rewritten), default=257) > 256
    assert min(picked_from(made)) > 64
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(4)).double()
    with torch.no_grad():
        expected, got = module(image), made(image)
    assert (got - expected).abs().max() <= 1e-13 * expected.abs().max()
