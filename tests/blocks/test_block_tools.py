"""Other tools count the newer kinds as our conventions say; they come up rarely in drawn specs."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from analysis import conventions
from blocks import ImageSize
from networks import PRESETS, NetworkSpec, apply_choices, spec_from_dict, spec_to_dict

pytestmark = [
    pytest.mark.filterwarnings("ignore:distutils Version classes are deprecated"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    # fvcore traces the module; constants that depend on the input's size are meant.
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

SIZE = ImageSize(64, 32)
CHOICES = [
    *({"block": kind} for kind in ("mobileone", "uib", "ghost", "partial_conv", "star", "split")),
    {"block": {"kind": "repvit", "gate": True}},
    {"block": "susa"},
    {"block": "dynamic_split"},
    *({"fusion": kind} for kind in ("adjacent_only", "low_rank", "pooled")),
]


def small(choice: dict[str, object]) -> NetworkSpec:
    base = spec_to_dict(PRESETS["lite_hrnet_18"].make(3))
    shape = {"widths": [8, 16, 24, 32], "depth": 1, "units": 1}
    return spec_from_dict(apply_choices(base, {**shape, **choice}))


@pytest.fixture(autouse=True)
def _quiet():
    """fvcore reports through logging what it does not count."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_tools_print_what_the_conventions_say(choice):
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
    from thop import profile

    spec = small(choice)
    ops = spec.operations(SIZE)
    module = spec.build().eval()
    image = torch.zeros(1, 3, SIZE.height, SIZE.width)
    flops = FlopCountAnalysis(module, image).unsupported_ops_warnings(enabled=False)
    outputs = ActivationCountAnalysis(module, image).unsupported_ops_warnings(enabled=False)
    assert conventions.fvcore(ops) == flops.total()
    assert conventions.activations(ops) == outputs.total()
    assert conventions.thop(ops) == profile(copy.deepcopy(module), (image,), verbose=False)[0]
    with FlopCounterMode(display=False) as count:
        module(image)
    assert conventions.torch(ops) == count.get_total_flops()


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_ptflops_prints_what_its_convention_says(choice):
    ptflops = pytest.importorskip("ptflops")
    spec = small(choice)
    total, _ = ptflops.get_model_complexity_info(
        spec.build().eval(),
        (3, SIZE.height, SIZE.width),
        print_per_layer_stat=False,
        as_strings=False,
    )
    assert conventions.ptflops(spec.operations(SIZE)) == total
