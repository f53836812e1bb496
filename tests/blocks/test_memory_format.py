"""Layers compute the same in both memory formats, and shuffles do not leave channels-last."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layer_examples import Example, examples
from torch import Tensor

from blocks import ImageSize, interleave

SIZE = ImageSize(64, 96)
EXAMPLES = examples()


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@given(
    num_parts=st.integers(1, 4),
    batch=st.integers(1, 3),
    channels=st.integers(1, 5),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
)
def test_interleaving(num_parts, batch, channels, height, width):
    whole = torch.randn(batch, num_parts * channels, height, width, dtype=torch.float64)
    expected = torch.empty_like(whole)
    for index in range(num_parts):
        expected[:, index::num_parts] = whole[:, index * channels : (index + 1) * channels]
    direction = torch.randn_like(whole)
    gradients = []
    for x in (whole, channels_last(whole)):
        x.requires_grad_()
        *first, last = x.chunk(num_parts, dim=1)
        # As in blocks: all but the last are slices, the last was computed.
        out = interleave(*first, last.clone())
        assert torch.equal(out, expected)
        gradients.append(*torch.autograd.grad((out * direction).sum(), x))
    assert torch.equal(*gradients)


@pytest.mark.parametrize("num_parts", [2, 3])
def test_interleaving_keeps_the_order_in_memory(num_parts):
    whole = torch.randn(2, 6, 4, 3)
    for x, stays in ((whole, False), (channels_last(whole), True)):
        *first, last = x.chunk(num_parts, dim=1)
        out = interleave(*first, last.clone())
        assert is_channels_last(out) is stays
        assert out.is_contiguous() is not stays


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_layers_compute_the_same_in_both_formats(example: Example):
    for ins in example.ins:
        torch.manual_seed(0)
        module = example.layer.build(ins).double()
        state = {name: value.clone() for name, value in module.state_dict().items()}
        inputs = [torch.randn((2, *shape.at(SIZE)), dtype=torch.float64) for shape in ins]
        plain = module(inputs)
        module.load_state_dict(state)
        module.to(memory_format=torch.channels_last)
        for ours, expected in zip(module([channels_last(x) for x in inputs]), plain, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
