"""Steps of rewriting, one by one: what each does, and what it leaves alone."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from rewritten_outputs import SIZE, calls, off, off_plain, trained
from torch import nn

from networks import rewrite
from networks.deploy.capturing import capture
from networks.deploy.channels import as_channels
from networks.deploy.folding import fold
from networks.deploy.gates import merge_gates
from networks.deploy.layout import order_channels
from networks.deploy.siblings import merge_siblings
from networks.deploy.sums import nest_sums

aten = torch.ops.aten


class TestChannels:
    def test_a_shuffle_of_three_and_a_split_are_one_gather(self):
        class Shuffle(nn.Module):
            def forward(self, x):
                x = F.relu(x).repeat(1, 4, 1, 1) * 2
                n, c, h, w = x.shape
                return x.view(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)[:, 6:]

        graph = as_channels(capture(Shuffle(), SIZE))
        assert calls(graph)["aten.index_select.default"] == 1
        assert all(len(node.meta.get("shape", ())) <= 4 for node in graph.graph.nodes)
        assert off_plain(Shuffle(), graph) == 0

    def test_moving_positions_is_left_alone(self):
        class Transpose(nn.Module):
            def forward(self, x):
                return F.relu(x).transpose(2, 3) * 2

        graph = as_channels(capture(Transpose(), SIZE))
        assert "aten.index_select.default" not in calls(graph)
        assert off_plain(Transpose(), graph) == 0


class TestFold:
    def test_parallel_branches_become_one_convolution(self):
        class Parallel(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Conv2d(3, 6, 1)
                self.three = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
                self.one = nn.Sequential(nn.Conv2d(6, 6, 1, groups=6), nn.BatchNorm2d(6))
                self.none = nn.BatchNorm2d(6)

            def forward(self, image):
                x = F.relu(self.first(image))
                return self.three(x) + self.one(x) + self.none(x) + x

        module = trained(Parallel().double())
        graph = fold(as_channels(capture(module, SIZE)))
        assert calls(graph) == {"aten.convolution.default": 2, "aten.relu.default": 1}
        assert off(module, graph) < 1e-13

    def test_what_others_read_is_not_folded_away(self):
        class Shared(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
                self.norm = nn.BatchNorm2d(4, affine=False)

            def forward(self, image):
                x = self.conv(image)
                return self.norm(x) + x * 3

        module = trained_affine_free(Shared().double())
        graph = fold(as_channels(capture(module, SIZE)))
        assert off(module, graph) < 1e-13
        # The convolution is made once; its norm is a filter of its own.
        weights = [
            node.meta["shape"]
            for node in graph.graph.nodes
            if node.op == "get_attr" and len(node.meta["shape"]) == 4
        ]
        assert sorted(weights) == [(4, 1, 1, 1), (4, 3, 3, 3)]

    def test_other_strides_and_kernels_are_not_added(self):
        class Uneven(nn.Module):
            def __init__(self):
                super().__init__()
                self.even = nn.Conv2d(3, 4, 2, stride=2)
                self.odd = nn.Conv2d(3, 4, 3, stride=2, padding=1)

            def forward(self, image):
                return self.even(image) + self.odd(image)

        module = Uneven().double().eval()
        graph = fold(capture(module, SIZE))
        assert calls(graph)["aten.convolution.default"] == 2
        assert off(module, graph) < 1e-14

    def test_a_transposed_convolution_takes_its_norm(self):
        module = nn.Sequential(
            nn.ConvTranspose2d(3, 6, 4, stride=2, padding=1, groups=3), nn.BatchNorm2d(6)
        )
        module = trained(module.double())
        graph = fold(capture(module, SIZE))
        assert calls(graph) == {"aten.convolution.default": 1}
        assert off(module, graph) < 1e-13


def trained_affine_free(module):
    module.norm.running_mean.normal_(0, 0.3)
    module.norm.running_var.uniform_(0.5, 2)
    return module.eval()


class Halves(nn.Module):
    """Works on half of the channels, and shuffles: with a gate from the pooled half."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.cross = nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1), nn.Sigmoid())
        self.filter = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.last = nn.Conv2d(8, 5, 1)

    def forward(self, image):
        kept, worked = F.relu(self.first(image)).chunk(2, dim=1)
        weights = F.interpolate(self.cross(F.avg_pool2d(worked, 4)), scale_factor=4)
        worked = self.filter(worked * weights)
        return self.last(torch.stack((kept, worked), dim=2).flatten(1, 2))


def test_halves_are_widened_so_that_nothing_moves():
    module = Halves().double().eval()
    graph = order_channels(fold(as_channels(capture(module, SIZE))))
    assert not {aten.cat.default, aten.index_select.default, aten.slice.Tensor} & {
        node.target for node in graph.graph.nodes
    }
    assert off(module, graph) < 1e-14


def test_a_half_under_an_activation_is_not_widened():
    class Activated(Halves):
        def forward(self, image):
            kept, worked = self.first(image).chunk(2, dim=1)
            worked = self.filter(F.relu(worked))
            return self.last(torch.stack((kept, worked), dim=2).flatten(1, 2))

    module = Activated().double().eval()
    assert off(module, order_channels(fold(as_channels(capture(module, SIZE))))) < 1e-14


def test_sums_are_nested_by_resolution():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 4, n, stride=n) for n in (1, 2, 4, 8))

        def forward(self, image):
            total = self.convs[0](image) * 2
            for conv, ratio in zip(self.convs[1:], (2, 4, 8), strict=True):
                total = total + F.interpolate(conv(image), scale_factor=ratio)
            return F.relu(total)

    module = Sum().double().eval()
    graph = nest_sums(capture(module, SIZE))
    sides = [
        node.meta["shape"][2]
        for node in graph.graph.nodes
        if node.target is aten.upsample_nearest2d.default
    ]
    assert sides == [16, 32, 64]
    assert off(module, graph) < 1e-14


def test_numbers_and_smaller_tensors_are_added_as_they_are():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 4, n, stride=n) for n in (2, 4))

        def forward(self, image):
            ups = [F.interpolate(c(image), size=(64, 32)) for c in self.convs]
            total = (ups[0] + 1 + ups[1]) + image.mean((1, 2, 3), keepdim=True)
            return F.relu(total + ups[0].mean((2, 3), keepdim=True) + 0.5)

    module = Sum().double().eval()
    assert off(module, rewrite(module, SIZE)) < 1e-14


@pytest.mark.parametrize("batch", [1, 2])
def test_what_is_read_elsewhere_stays(batch):
    class Read(Halves):
        def forward(self, image):
            x = F.relu(self.first(image))
            kept, worked = x.chunk(2, dim=1)
            weights = F.interpolate(self.cross(F.avg_pool2d(worked, 4)), scale_factor=4)
            filtered = self.filter(worked * weights)
            out = torch.stack((kept, filtered), dim=2).flatten(1, 2)
            return self.last(out), out + 1, worked, filtered * 2, x

    module = Read().double().eval()
    image = torch.randn(batch, 3, SIZE.height, SIZE.width, dtype=torch.float64)
    with torch.no_grad():
        made = rewrite(module, SIZE, batch=batch)(image)
        for expected, got in zip(module(image), made, strict=True):
            assert torch.allclose(expected, got, atol=1e-12)


def test_siblings_are_merged():
    class Siblings(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, n, 1) for n in (2, 3, 4))
            self.other = nn.Conv2d(3, 9, 1, stride=2)

        def forward(self, image):
            parts = [F.relu(conv(image)) for conv in self.convs]
            return torch.cat(parts[::-1], dim=1)[:, :, ::2, ::2] * self.other(image)

    module = Siblings().double().eval()
    graph = merge_siblings(capture(module, SIZE))
    assert calls(graph)["aten.convolution.default"] == 2
    assert calls(graph)["aten.relu.default"] == 1
    assert off(module, graph) < 1e-14


def test_a_sibling_that_is_read_without_its_activation_as_well_keeps_it():
    class Siblings(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, n, 1) for n in (2, 3))

        def forward(self, image):
            first, second = (conv(image) for conv in self.convs)
            return torch.cat([F.relu(first), F.relu(second), first * 2], dim=1)

    module = Siblings().double().eval()
    graph = merge_siblings(capture(module, SIZE))
    assert calls(graph)["aten.convolution.default"] == 1
    assert calls(graph)["aten.relu.default"] == 2
    assert off(module, graph) < 1e-14


class Gated(nn.Module):
    """Two branches under gates, which a second gate across both of them reads pooled."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 4, 2, stride=2)])
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 2, 1), nn.ReLU(), nn.Conv2d(2, c, 1), nn.Sigmoid())
            for c in (6, 4)
        )
        self.cross = nn.Sequential(nn.Conv2d(10, 10, 1), nn.Sigmoid())

    def forward(self, image):
        fine, coarse = (
            y * gate(y.mean((2, 3), keepdim=True))
            for y, gate in zip((c(image) for c in self.convs), self.gates, strict=True)
        )
        weights = self.cross(torch.cat([F.avg_pool2d(fine, 2), coarse], 1))
        fine = fine * F.interpolate(weights[:, :6], scale_factor=2)
        return torch.cat([F.avg_pool2d(fine, 2), coarse * weights[:, 6:]], 1)


def test_gates_are_merged_and_work_on_what_is_pooled():
    module = Gated().double().eval()
    captured = as_channels(capture(module, SIZE))
    graph = merge_gates(captured)
    assert calls(captured)["aten.mean.dim"] == 2
    assert calls(graph)["aten.mean.dim"] == 1
    full = [
        node
        for node in graph.graph.nodes
        if node.target is aten.mul.Tensor and node.meta["shape"] == (1, 6, 64, 32)
    ]
    assert len(full) == 1
    assert off(module, graph) < 1e-14


def test_a_gated_tensor_that_others_read_is_made():
    class Read(Gated):
        def forward(self, image):
            fine = self.convs[0](image)
            fine = fine * self.gates[0](fine.mean((2, 3), keepdim=True))
            return F.avg_pool2d(fine, 2).sum() + fine

    module = Read().double().eval()
    assert off(module, merge_gates(as_channels(capture(module, SIZE)))) < 1e-14


def test_gates_one_after_another_are_not_merged():
    class Chain(Gated):
        def forward(self, image):
            x = self.convs[0](image)
            for _ in range(2):
                x = x * self.gates[0](x.mean((2, 3), keepdim=True))
            return x

    module = Chain().double().eval()
    graph = merge_gates(as_channels(capture(module, SIZE)))
    assert calls(graph)["aten.sigmoid.default"] == 2
    assert off(module, graph) < 1e-14
