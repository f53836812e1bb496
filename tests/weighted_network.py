"""A network of fine maps and coarse weights, and how graphs made of it compare."""

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from blocks import ImageSize
from networks.deploy.capturing import capture
from networks.deploy.channels import as_channels
from networks.deploy.late import gate_late

SIZE = ImageSize(8, 16)
CONVOLUTION = torch.ops.aten.convolution.default


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
