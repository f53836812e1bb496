"""Segmentation heads: what they compute, and what they cannot stand behind."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.cost import measure_cost
from blocks import BranchShape, ImageSize, SpecError
from networks import PRESETS, SpecSpace, hrnet_w32, initialise, lite_hrnet_18
from networks.segmentation_heads import (
    AttentionSegmentationHead,
    ConcatSegmentationHead,
    FinestSegmentationHead,
)

CHANNELS = st.lists(st.integers(1, 6), min_size=2, max_size=4)


@settings(max_examples=15)
@given(channels=CHANNELS, seed=st.integers(0, 1000))
def test_mixing_before_upsampling_is_the_same_function(channels, seed):
    ins = tuple(BranchShape(c, 4 * 2**i) for i, c in enumerate(channels))
    after = ConcatSegmentationHead(num_outputs=3).build(ins).double().eval()
    before = ConcatSegmentationHead(num_outputs=3, mix="before").build(ins).double().eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in after.parameters():
            value.normal_()
        before.rest.load_state_dict(after.rest.state_dict())
        before.classify.load_state_dict(after.classify.state_dict())
        before.mix[0].conv.bias.copy_(after.mix[0].conv.bias)
        parts = after.mix[0].conv.weight.split(channels, dim=1)
        for conv, part in zip(before.mix, parts, strict=True):
            conv.conv.weight.copy_(part)
        size = ImageSize(64, 96)
        xs = [torch.randn(2, *shape.at(size), dtype=torch.float64) for shape in ins]
        torch.testing.assert_close(before(xs), after(xs))


def test_mixing_before_upsampling_is_cheaper_and_has_equal_params():
    spec = PRESETS["hrnet_w32_seg"].make(19)
    head = dataclasses.replace(spec.head, mix="before")
    size = ImageSize(512, 1024)
    after, before = (
        measure_cost(dataclasses.replace(spec, head=one), size) for one in (spec.head, head)
    )
    assert before.params == after.params
    assert before.macs < 0.93 * after.macs


@pytest.mark.parametrize("head", [ConcatSegmentationHead(), AttentionSegmentationHead()])
def test_heads_that_join_branches_ask_for_several(head):
    # The last fusion of the key-point network puts out the finest branch only.
    with pytest.raises(SpecError, match=r"head \(segmentation_.*joins several branches, got one"):
        dataclasses.replace(hrnet_w32(), head=head)
    dataclasses.replace(hrnet_w32(), head=FinestSegmentationHead())


def test_a_search_changes_heads_and_keeps_the_number_of_outputs():
    kinds = ["segmentation_attention", "segmentation_concat", "segmentation_finest"]
    space = SpecSpace.resolve(lite_hrnet_18(11), {"head": kinds})
    specs = [space.spec((index,)) for index in range(3)]
    assert [spec.num_outputs for spec in specs] == [11, 11, 11]
    assert len({type(spec.head) for spec in specs}) == 3


@pytest.mark.parametrize(
    "head",
    [ConcatSegmentationHead(), FinestSegmentationHead(), AttentionSegmentationHead()],
    ids=lambda head: type(head).__name__,
)
def test_first_scores_tell_no_class_from_another(head):
    # Only the last convolution starts small, so that the first loss is that of guessing.
    module = dataclasses.replace(lite_hrnet_18(), head=head).build()
    initialise(module, "kaiming", 0)
    convs = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)]
    assert convs[-1].out_channels == 19
    assert convs[-1].weight.std() < 0.002
    with torch.no_grad():
        scores = module(torch.randn(2, 3, 64, 64))
    assert scores.shape == (2, 19, 16, 16)
    assert scores.abs().max() < 0.5


def test_every_backbone_of_several_branches_has_a_segmentation_network():
    backbones = {
        preset.name
        for preset in PRESETS.values()
        if preset.task == "coco_keypoints" and preset.make(17).num_branches > 1
    }
    made = {preset.name for preset in PRESETS.values() if preset.task == "cityscapes"}
    assert made == {f"{name}_seg" for name in backbones}
    for name in backbones:
        ours, theirs = PRESETS[f"{name}_seg"].make(19), PRESETS[name].make(19)
        assert ours.num_outputs == 19
        assert (ours.stem, ours.stages[:-1]) == (theirs.stem, theirs.stages[:-1])
