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
from rewritten_outputs import SIZE, calls, off, off_plain, trained
from torch import nn

from blocks import ImageSize
from networks import PRESETS, rewrite
from networks.deploy import rewriting
from networks.deploy.capturing import CaptureError, capture
from networks.deploy.channels import as_channels
from networks.deploy.pools import pools_to_convolutions
from networks.deploy.sums import nest_sums

aten = torch.ops.aten


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


def test_a_tensor_from_several_is_read_by_number():
    class Pooled(nn.Module):
        def forward(self, image):
            values, places = F.max_pool2d(image, 2, return_indices=True)
            return values + places.to(values.dtype) * 0

    graph = as_channels(capture(Pooled(), SIZE))
    assert any(node.target is operator.getitem for node in graph.graph.nodes)
    assert off_plain(Pooled(), graph) == 0
