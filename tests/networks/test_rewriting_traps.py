"""Modules that look like what rewriting knows, and are not: their outputs must stay."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from blocks import ImageSize
from networks import rewrite
from networks.deploy.capturing import CaptureError, capture
from networks.deploy.pools import pools_to_convolutions

SIZE = ImageSize(8, 8)
SHUFFLE = [3, 1, 2, 0, 5, 4, 7, 6]


class Trap(nn.Module):
    """Runs a function over layers that many traps need."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.other = nn.Conv2d(3, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.narrow = nn.Conv2d(8, 2, 1)
        self.widen = nn.Conv2d(2, 8, 1)
        self.halving = nn.Conv2d(8, 8, 2, stride=2)
        self.quarter = nn.Conv2d(8, 8, 4, stride=4)
        self.four = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
        self.few = nn.Conv2d(2, 2, 3, padding=1, groups=2)
        self.function = function

    def forward(self, image):
        return self.function(self, image, self.conv(image))

    def gate(self, x):
        return torch.sigmoid(self.widen(F.relu(self.narrow(x.mean((2, 3), keepdim=True)))))


def _pooled_gate(net, x, **how):
    gated = x * net.gate(x)
    return F.avg_pool2d(gated, 4, **how)


def _two_gated(net, image, x):
    y = net.other(image)
    first, second = x * net.gate(x), y * net.gate(y)
    return torch.cat([first, second], 1).mean((2, 3)), first * second


def _gate_reading_itself(net, _, x):
    gated = x * net.gate(x)
    return torch.cat([F.avg_pool2d(gated, 2), F.avg_pool2d(x, 2)], 1), F.relu(x) * gated


def _sum(net, x, term):
    ups = F.interpolate(net.halving(x), size=(8, 8)), F.interpolate(net.quarter(x), size=(8, 8))
    return (x + ups[0] + ups[1]) + term


TRAPS = {
    "a residual of itself, shuffled": lambda _n, _i, x: x + F.relu(x[:, SHUFFLE]),
    "shuffled behind the filter": lambda n, _, x: x + n.depthwise(x)[:, SHUFFLE],
    "a residual twice": lambda _n, _i, x: (x + F.relu(x)[:, SHUFFLE]) * x[:, SHUFFLE],
    "positions in three dimensions": lambda _n, _i, x: (
        x[:, SHUFFLE] + torch.arange(512.0, dtype=x.dtype).view(8, 8, 8) * x.mean(),
        x,
    ),
    "norms of this batch": lambda _n, _i, x: F.batch_norm(x, None, None, training=True),
    "an instance norm": lambda _n, _i, x: F.instance_norm(x),
    "a row in a sum": lambda n, _, x: _sum(n, x, x.mean(2, keepdim=True)),
    "a column in a sum": lambda n, _, x: _sum(n, x, x.mean(3, keepdim=True)),
    "a number in a sum": lambda n, _, x: _sum(n, x, 1.5) + x.mean(),
    "a factor on what is upsampled": lambda n, _, x: torch.add(
        x + F.interpolate(n.quarter(x), size=(8, 8)),
        F.interpolate(n.halving(x), size=(8, 8)),
        alpha=0.5,
    ),
    "scales that do not fit": lambda n, _, x: (
        F.interpolate(n.halving(x), scale_factor=2.1)
        + F.interpolate(n.quarter(x), scale_factor=2.1 * 0.96).repeat_interleave(1, 2).mean()
    ),
    "pooling with padding": lambda n, _, x: _pooled_gate(n, x, padding=1),
    "pooling with a divisor": lambda n, _, x: _pooled_gate(n, x, divisor_override=3),
    "two gated tensors multiplied": _two_gated,
    "a gate under its own tensor": _gate_reading_itself,
    "hard swish by hand": lambda _n, _i, x: x * F.relu6(x + 3) / 6,
    "a filter of some channels": lambda n, _, x: (n.four(F.relu(x)[:, 4:]) * 2, x),
    "a filter of channels in another order": lambda n, _, x: n.four(F.relu(x)[:, [6, 1, 3, 2]]),
    "a filter of one channel twice": lambda n, _, x: n.four(F.relu(x)[:, [1, 1, 3, 2]]),
    "a filter of a few channels": lambda n, _, x: n.few(F.relu(x)[:, 2:4]),
    "a filter of channels of two tensors": lambda n, i, x: n.four(
        torch.cat([F.relu(x)[:, :2], n.other(i)[:, 2:4]], 1)
    ),
    "a sum of convolutions with factors": lambda n, i, x: torch.add(
        torch.add(n.other(i), n.widen(n.narrow(x)), alpha=2), F.relu(x), alpha=3
    ),
    "a sum whose every term has a factor": lambda n, i, x: torch.add(
        x.mean(), torch.add(n.other(i) * 0.5, F.relu(x), alpha=3), alpha=2
    ),
    "a sum that is read inside": lambda n, i, x: (
        (inner := n.other(i) + F.relu(x)) + n.widen(n.narrow(x)),
        inner,
    ),
    "a concatenation of images": lambda _n, _i, x: torch.cat([x, F.relu(x)]),
    "a concatenation of rows": lambda _n, _i, x: torch.cat([x, F.relu(x)], 2)[:, SHUFFLE],
    "an order from the image": lambda _n, _i, x: x[:, x.mean((0, 2, 3)).argsort()] * 2,
    "channels by a mask": lambda _n, _i, x: F.relu(x[:, torch.arange(8) % 3 == 0]) + 1,
    "other numbers": lambda _n, _i, x: F.relu(x.to("cpu", torch.float32)) * 2 + x,
    "five dimensions": lambda _n, _i, x: (
        x.view(1, 2, 4, 8, 8) * torch.ones(1, 2, 4, 1, 1, dtype=x.dtype) * x.mean()
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_outputs_stay(name):
    module = Trap(TRAPS[name]).double().eval()
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(4)).double()
    with torch.no_grad():
        expected, made = module(image), rewrite(module, SIZE)(image)
    for one, other in zip(*map(_several, (expected, made)), strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def _several(value):
    return value if isinstance(value, tuple) else (value,)


def test_numbers_keep_their_type_where_constants_have_another():
    torch.manual_seed(1)
    grid = torch.randn(1, 3, 8, 8).double()
    module = Trap(lambda n, i, x: (i * grid).mean() * n.other(i) + F.relu(x) * grid[:, :1]).eval()
    image = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        expected, made = module(image), rewrite(module, SIZE)(image)
    assert expected.dtype == made.dtype == torch.float64
    assert torch.allclose(expected, made, atol=1e-5)


@pytest.mark.parametrize(
    "how", [{"padding": 1}, {"padding": 1, "count_include_pad": False}, {"divisor_override": 3}]
)
def test_pools_that_do_not_tile_stay(how):
    module = Trap(lambda _n, _i, x: F.avg_pool2d(x, 4, **how)).double().eval()
    image = torch.randn(1, 3, 8, 8).double()
    made = pools_to_convolutions(capture(module, SIZE))
    assert torch.allclose(module(image), made(image), atol=1e-12)


def test_places_in_memory_are_refused():
    module = Trap(lambda _n, _i, x: x.as_strided((1, 8, 4, 4), (512, 64, 8, 1)))
    with pytest.raises(CaptureError, match="use views, slices and transposes"):
        rewrite(module, SIZE)


class Halved(nn.Module):
    """A half that is worked on, of which something is read that mixes channels."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.filter = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.last = nn.Conv2d(8, 5, 1)
        self.function = function

    def forward(self, image):
        kept, worked = F.relu(self.first(image)).chunk(2, dim=1)
        read = self.function(worked)
        worked = self.filter(worked)
        return self.last(torch.stack((kept, worked), dim=2).flatten(1, 2)), read


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(1, keepdim=True) + 1,
        lambda x: x.mean((1, 2, 3)),
        lambda x: torch.cat([x.mean(3, keepdim=True), x.mean(3, keepdim=True)], 2),
        lambda x: x.mean((-1, -2)),
    ],
)
def test_what_is_read_of_a_half_stays(function):
    module = Halved(function).double().eval()
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(4)).double()
    with torch.no_grad():
        for one, other in zip(module(image), rewrite(module, SIZE)(image), strict=True):
            assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
