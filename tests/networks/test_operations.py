"""Closed-form operations are what is executed, for whole networks."""

from __future__ import annotations

import pytest
import torch
from drawn_specs import specs
from hypothesis import given

from blocks import BranchworkError, ImageSize, num_weights, record_ops
from blocks.testing import first_difference
from networks import PRESETS, NetworkSpec


def check(spec: NetworkSpec, size: ImageSize) -> None:
    module = spec.build()
    closed = spec.operations(size)
    executed = record_ops(module, [torch.empty(1, 3, size.height, size.width)], as_list=False)
    assert closed == executed, first_difference(closed, executed)
    assert num_weights(closed) == sum(parameter.numel() for parameter in module.parameters())
    assert closed[-1].out == (
        spec.num_outputs,
        size.height // spec.output_stride,
        size.width // spec.output_stride,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    # At 32x32 the coarsest branch has a single position.
    for size in (ImageSize(32, 32), ImageSize(64, 96)):
        check(PRESETS[name].make(17), size)


@given(spec=specs())
def test_drawn_networks(spec: NetworkSpec):
    check(spec, ImageSize(spec.coarsest_stride * 2, spec.coarsest_stride))


@given(spec=specs())
def test_drawn_networks_run(spec: NetworkSpec):
    size = ImageSize(spec.coarsest_stride, spec.coarsest_stride * 2)
    module = spec.build().eval()
    image = torch.randn(2, 3, size.height, size.width)
    with torch.no_grad():
        out = module(image)
    assert out.shape == (2, *spec.operations(size)[-1].out)
    assert bool(out.isfinite().all())


@given(spec=specs())
def test_addresses_are_those_of_the_module_and_branches_are_labelled(spec: NetworkSpec):
    module = spec.build()
    names = dict(module.named_modules())
    data_paths = tuple(name for name, _ in spec.children())
    strides = {shape.stride for shapes in spec.stage_shapes for shape in shapes}
    size = ImageSize(spec.coarsest_stride, spec.coarsest_stride)
    for op in spec.operations(size):
        assert op.address in names
        assert op.address.startswith(data_paths)
        if op.module:
            assert type(names[op.address]).__name__ == op.module
        assert op.branch is not None, op
    for stage_index, stage in enumerate(spec.stages):
        shapes = spec.stage_shapes[stage_index]
        assert {shape.stride for shape in shapes} <= strides
        for unit_index, unit in enumerate(stage.units):
            prefix = f"stages.{stage_index}.units.{unit_index}.body."
            for index, group in enumerate(unit.body):
                for op in spec.operations(size):
                    if op.address.startswith(f"{prefix}{index}."):
                        assert op.branch in group.branches, op
                        # Attention norms a line of the branch, or a point.
                        is_point = op.kind == "batch_norm" and op.out[1:] == (1, 1)
                        if op.kind in {"batch_norm", "stack"} and not (
                            is_point or "cross" in op.address
                        ):
                            side = size.height // shapes[op.branch].stride
                            assert max(op.out[-2:]) == side, op


def test_an_image_that_the_stride_does_not_divide():
    spec = PRESETS["lite_hrnet_18"].make(17)
    with pytest.raises(BranchworkError) as caught:
        spec.operations(ImageSize(250, 192))
    assert str(caught.value) == (
        "input: both sides must be multiples of the coarsest stride, 32, got 250x192; "
        "pad the image to 256x192"
    )
