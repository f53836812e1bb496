"""The conventions ``fvcore`` and ``thop`` are what those tools return for our modules."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from drawn_specs import specs
from hypothesis import assume, given, settings
from torch import Tensor, nn

from analysis.conventions import fvcore, thop
from blocks import IMAGE, ImageSize
from networks import PRESETS, NetworkSpec, spec_from_dict, spec_to_dict
from networks.aggregators import IterativeAggregator

pytestmark = [
    pytest.mark.filterwarnings("ignore:distutils Version classes are deprecated"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    # fvcore traces the module; constants that depend on the input's size are meant.
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


def fvcore_prints(module: nn.Module, image: Tensor) -> int:
    from fvcore.nn import FlopCountAnalysis

    count = FlopCountAnalysis(module, image)
    count.unsupported_ops_warnings(enabled=False)
    return int(count.total())


def thop_prints(module: nn.Module, image: Tensor) -> int:
    from thop import profile

    # It leaves buffers behind, so it works on a copy.
    total, _ = profile(copy.deepcopy(module), (image,), verbose=False)
    return int(total)


def check(spec: NetworkSpec, size: ImageSize) -> None:
    module = spec.build().eval()
    image = torch.zeros(1, 3, size.height, size.width)
    ops = spec.operations(size)
    assert fvcore(ops) == fvcore_prints(module, image)
    assert thop(ops) == thop_prints(module, image)


@pytest.fixture(autouse=True)
def _quiet():
    """fvcore reports through logging what it does not count."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    check(PRESETS[name].make(17), ImageSize(64, 96))


@settings(max_examples=15)
@given(spec=specs())
def test_drawn_networks(spec: NetworkSpec):
    # fvcore leaves out what no output depends on; such a network has dead branches.
    assume(spec.aggregator == IterativeAggregator() or _branches_at_the_head(spec) == 1)
    check(spec, ImageSize(spec.coarsest_stride, spec.coarsest_stride * 2))


def _branches_at_the_head(spec: NetworkSpec) -> int:
    ins = spec.stem.out_shapes(IMAGE)
    for stage in spec.stages:
        ins = stage.out_shapes(ins)
    return len(ins)


def test_fvcore_leaves_out_branches_that_no_output_reads():
    # The convention counts what is executed; fvcore's tracer drops dead ends. Known, and rare:
    # only a head that sees several branches without an aggregator has them.
    data = spec_to_dict(PRESETS["lite_hrnet_18"].make(17))
    spec = spec_from_dict({**data, "aggregator": "none"})
    ops = spec.operations(ImageSize(64, 64))
    module = spec.build().eval()
    image = torch.zeros(1, 3, 64, 64)
    assert fvcore_prints(module, image) < fvcore(ops)
    assert thop_prints(module, image) == thop(ops)


def test_numbers_that_the_tools_print_for_lite_hrnet_18():
    ops = PRESETS["lite_hrnet_18"].make(17).operations(ImageSize(256, 192))
    # The published execution, which runs some paths twice, gives 266.3 M and 278.2 M.
    assert fvcore(ops) == 217_857_792
    assert thop(ops) == 228_336_256
