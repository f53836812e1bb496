"""Rewriting for deployment: the same outputs, in fewer operators."""

import operator
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from drawn_specs import specs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blocks import ImageSize
from networks import PRESETS, rewrite
from networks.deploy import rewriting
from networks.deploy.capturing import CaptureError, capture
from networks.deploy.channels import MOVEMENTS, as_channels
from networks.deploy.folding import fold
from networks.deploy.gates import merge_gates
from networks.deploy.layout import order_channels
from networks.deploy.pools import pools_to_convolutions
from networks.deploy.siblings import merge_siblings
from networks.deploy.sums import nest_sums

SIZE = ImageSize(64, 32)
aten = torch.ops.aten


def trained(module: nn.Module) -> nn.Module:
    """Gives batch norms statistics and factors as a training leaves them."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.3, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.normal_(0, 0.3, generator=generator)
    return module.eval()


def off(module, other, size=SIZE, batch=1) -> float:
    """The largest difference, as a share of the largest output."""
    parameter = next(iter(module.state_dict().values()))
    image = torch.randn(
        batch, 3, size.height, size.width, generator=torch.Generator().manual_seed(2)
    )
    with torch.no_grad():
        expected, got = module(image.to(parameter.dtype)), other(image.to(parameter.dtype))
    assert expected.shape == got.shape
    assert expected.abs().max() > 0
    return ((got - expected).abs().max() / expected.abs().max()).item()


def calls(module) -> dict[str, int]:
    """How often each operator that computes or copies is called."""
    counts: dict[str, int] = {}
    free = MOVEMENTS - {aten.cat.default, aten.index_select.default, aten.stack.default}
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target not in free:
            name = str(node.target)
            counts[name] = counts.get(name, 0) + 1
    return counts


def rewritten(module, size) -> tuple[nn.Module, int]:
    """Rewrites a module, and tells how many calls there were before anything was left out."""
    before = []

    def noted(graph):
        before.append(as_channels(graph))
        return before[0]

    assert rewriting.STEPS[0] is as_channels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewriting, "STEPS", (noted, *rewriting.STEPS[1:]))
        made = rewrite(module, size)
    return made, sum(calls(before[0]).values())


@cache
def lite_hrnet(dtype: torch.dtype, size: ImageSize) -> tuple[nn.Module, nn.Module]:
    """Lite-HRNet-18 as a training leaves it, and what is made of it; for several tests."""
    module = trained(PRESETS["lite_hrnet_18"].make(5).build().to(dtype))
    return module, rewrite(module, size)


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"hrnet_w48", "hrnet_w48_seg"}))
def test_presets_put_out_the_same(name):
    module = trained(PRESETS[name].make(5).build().double())
    made, before = rewritten(module, ImageSize(64, 64))
    assert off(module, made, ImageSize(64, 64)) < 1e-13
    assert sum(calls(made).values()) < before


@settings(deadline=None, max_examples=25)
@given(specs(), st.sampled_from([(1, 1), (1, 2), (2, 1)]), st.sampled_from([1, 2]))
def test_any_network_puts_out_the_same(spec, sides, batch):
    size = ImageSize(*(spec.coarsest_stride * side for side in sides))
    module = trained(spec.build().double())
    assert off(module, rewrite(module, size, batch=batch), size, batch) < 1e-10


def test_single_precision_and_several_sizes():
    for size in (ImageSize(256, 192), ImageSize(96, 128)):
        assert off(*lite_hrnet(torch.float32, size), size) < 1e-4


def test_lite_hrnet_needs_half_the_calls():
    _, made = lite_hrnet(torch.float32, ImageSize(256, 192))
    counts = calls(made)
    assert sum(counts.values()) == 620
    # Nothing is shuffled, and concatenated is only what is pooled, what was averaged, and the
    # stem's two paths.
    assert counts["aten.cat.default"] == 25
    assert "aten.index_select.default" not in counts
    assert counts["aten.convolution.default"] == 227


def test_a_filter_of_a_half_reads_the_whole():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.filter = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
            self.last = nn.Conv2d(4, 5, 1)

        def forward(self, image):
            return self.last(self.filter(F.relu(self.first(image))[:, 4:]))

    module = Half().double().eval()
    made = rewrite(module, SIZE)
    assert not any(node.target is aten.slice.Tensor for node in made.graph.nodes)
    assert off(module, made) < 1e-14


def test_convolutions_come_last_in_sums():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(2))

        def forward(self, image):
            first, second = (conv(F.relu(image)) for conv in self.convs)
            return first + torch.sigmoid(second) + torch.sigmoid(image)

    made = nest_sums(capture(Sum().double(), SIZE))
    last = [node for node in made.graph.nodes if node.target is aten.add.Tensor][-1]
    assert last.args[1].target is aten.convolution.default


def test_the_module_stays_as_it_is():
    spec = PRESETS["lite_hrnet_18"].make(5)
    # One stage is enough for weights to be folded, moved and merged.
    module = trained(replace(spec, stages=spec.stages[:1]).build()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    rewrite(module, ImageSize(64, 64))
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_nodes_have_addresses_and_weights_their_names():
    _, made = lite_hrnet(torch.float32, ImageSize(96, 128))
    for node in made.graph.nodes:
        if node.op == "call_function":
            assert node.meta["address"].split(".")[0] in {"stem", "stages", "aggregator", "head"}
            assert all(isinstance(side, int) for side in node.meta["shape"])
    assert "stem.conv.0.conv.weight" in made.state_dict()


def test_a_network_that_looks_at_its_image_is_refused():
    class Branching(nn.Module):
        def forward(self, image):
            return image * 2 if image.sum() > 0 else image

    with pytest.raises(CaptureError, match="computes the same for each image"):
        rewrite(Branching(), SIZE)


def test_writes_in_place_and_views_are_captured():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, image):
            x = self.conv(image)
            x[:, 2:4] += x[:, :2] * 2
            x[:, 5:].mul_(0.5)
            return F.relu(x, inplace=True).flatten(2).mean(2), x

    module = InPlace().double().eval()
    image = torch.randn(1, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        for expected, got in zip(module(image), rewrite(module, SIZE)(image), strict=True):
            assert torch.allclose(expected, got, atol=1e-12)


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


def off_plain(module, other) -> float:
    image = torch.randn(1, 3, SIZE.height, SIZE.width)
    return (module(image) - other(image)).abs().max().item()


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


def test_pools_that_tile_are_convolutions_for_other_runtimes():
    class Pools(nn.Module):
        def forward(self, image):
            tiled = F.avg_pool2d(image, (4, 2))
            return tiled + F.avg_pool2d(image, 5, stride=(4, 2), padding=2)

    graph = pools_to_convolutions(capture(Pools(), SIZE))
    assert calls(graph)["aten.convolution.default"] == 1
    assert calls(graph)["aten.avg_pool2d.default"] == 1
    assert off_plain(Pools(), graph) < 1e-6


def test_a_rewritten_network_is_exported_without_pooling():
    pytest.importorskip("onnx")
    from networks.deploy.onnx_writing import to_onnx

    size = ImageSize(96, 128)
    plain, made = (to_onnx(module, size) for module in lite_hrnet(torch.float32, size))
    assert sum(node.op_type == "AveragePool" for node in plain.graph.node) == 32
    assert not any(node.op_type == "AveragePool" for node in made.graph.node)


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


def test_a_tensor_from_several_is_read_by_number():
    class Pooled(nn.Module):
        def forward(self, image):
            values, places = F.max_pool2d(image, 2, return_indices=True)
            return values + places.to(values.dtype) * 0

    graph = as_channels(capture(Pooled(), SIZE))
    assert any(node.target is operator.getitem for node in graph.graph.nodes)
    assert off_plain(Pooled(), graph) == 0
