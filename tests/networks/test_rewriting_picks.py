"""Channels are picked by convolutions, where numbers are finite and channels few."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn
from weighted_network import CONVOLUTION, SIZE, Weighted, captured, check, count

from blocks import ImageSize
from networks import PRESETS, rewrite
from networks.deploy.capturing import capture
from networks.deploy.channels import as_channels
from networks.deploy.finishing import finish
from networks.deploy.picks import convolutions_to_picks, picks_to_convolutions

aten = torch.ops.aten


def pick(graph):
    return picks_to_convolutions(graph, 64)


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
