"""The conventions that emulate tools are what those tools return for our modules."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from drawn_specs import specs
from hypothesis import given, settings
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from analysis import conventions
from analysis.conventions import fvcore, thop
from analysis.cost import By, break_down, measure_cost
from analysis.unread import unread_operations
from blocks import ImageSize, Op, record
from networks import PRESETS, NetworkSpec, spec_from_dict, spec_to_dict

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


def fvcore_activations(module: nn.Module, image: Tensor) -> int:
    from fvcore.nn import ActivationCountAnalysis

    count = ActivationCountAnalysis(module, image)
    count.unsupported_ops_warnings(enabled=False)
    return int(count.total())


def torch_prints(module: nn.Module, image: Tensor) -> int:
    with FlopCounterMode(display=False) as count:
        module(image)
    return int(count.get_total_flops())


def ptflops_prints(module: nn.Module, image: Tensor) -> int:
    from ptflops import get_model_complexity_info

    total, _ = get_model_complexity_info(
        copy.deepcopy(module),
        tuple(image.shape[1:]),
        print_per_layer_stat=False,
        as_strings=False,
    )
    return int(total)


def read_ops(module: nn.Module, image: Tensor) -> list[Op]:
    """What the output depends on: fvcore's tracer drops the rest."""
    recording = record(module, [image])
    return [op for op, is_read in zip(recording.ops, recording.are_read, strict=True) if is_read]


def check(spec: NetworkSpec, size: ImageSize) -> nn.Module:
    """Checks a network's counts, and returns its module."""
    module = spec.build().eval()
    image = torch.zeros(1, 3, size.height, size.width)
    ops = spec.operations(size)
    counted = measure_cost(spec, size).conventions
    assert counted["fvcore"] == fvcore_prints(module, image)
    assert counted["thop"] == thop(ops)
    assert thop(ops) == thop_prints(module, image)
    assert conventions.torch(ops) == torch_prints(module, image)
    return module


@pytest.fixture(autouse=True)
def _quiet():
    """fvcore reports through logging what it does not count."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    spec, size = PRESETS[name].make(17), ImageSize(64, 96)
    module = check(spec, size)
    # Of a preset, everything is read.
    assert len(read_ops(module, torch.zeros(1, 3, 64, 96))) == len(spec.operations(size))


@settings(max_examples=8)
@given(spec=specs())
def test_activations_are_those_that_fvcore_counts(spec: NetworkSpec):
    module = spec.build().eval()
    image = torch.zeros(1, 3, spec.coarsest_stride, spec.coarsest_stride)
    assert conventions.activations(read_ops(module, image)) == fvcore_activations(module, image)


@pytest.mark.parametrize("name", PRESETS)
def test_ptflops_on_presets(name):
    pytest.importorskip("ptflops")
    spec = PRESETS[name].make(17)
    ops = spec.operations(ImageSize(64, 96))
    printed = ptflops_prints(spec.build().eval(), torch.zeros(1, 3, 64, 96))
    assert conventions.ptflops(ops) == printed


@settings(max_examples=8)
@given(spec=specs())
def test_ptflops_on_drawn_networks(spec: NetworkSpec):
    pytest.importorskip("ptflops")
    size = ImageSize(spec.coarsest_stride, spec.coarsest_stride * 2)
    image = torch.zeros(1, 3, size.height, size.width)
    printed = ptflops_prints(spec.build().eval(), image)
    assert conventions.ptflops(spec.operations(size)) == printed


@settings(max_examples=15)
@given(spec=specs())
def test_drawn_networks(spec: NetworkSpec):
    check(spec, ImageSize(spec.coarsest_stride, spec.coarsest_stride * 2))


def test_fvcore_leaves_out_branches_that_no_output_reads():
    # Its tracer drops dead ends: a head that sees several branches without an aggregator has them.
    data = spec_to_dict(PRESETS["lite_hrnet_18"].make(17))
    spec = spec_from_dict({**data, "aggregator": "none"})
    ops = spec.operations(ImageSize(64, 64))
    module = spec.build().eval()
    image = torch.zeros(1, 3, 64, 64)
    size = ImageSize(64, 64)
    printed = fvcore_prints(module, image)
    assert printed == measure_cost(spec, size).conventions["fvcore"] < fvcore(ops)
    for by in By:
        parts = break_down(ops, by, unread_operations(spec))
        assert sum(part.conventions["fvcore"] for part in parts) == printed
    assert thop_prints(module, image) == thop(ops)


def test_numbers_that_the_tools_print_for_lite_hrnet_18():
    ops = PRESETS["lite_hrnet_18"].make(17).operations(ImageSize(256, 192))
    # The published execution, which runs some paths twice, gives 266.3 M and 278.2 M.
    assert fvcore(ops) == 217_857_792
    assert thop(ops) == 228_336_256
