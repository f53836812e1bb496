"""What the fusions that exchange less compute and cost."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from layer_examples import FOUR, TWO

from analysis.conventions import macs
from blocks import BranchShape, ImageSize, Ins, LayerSpec, SpecError
from networks import PRESETS, apply_choices, spec_from_dict, spec_to_dict
from networks.fusions import SumFusion
from networks.sparse_fusions import AdjacentFusion, LowRankFusion, PooledFusion

SIZE = ImageSize(64, 96)
KINDS = (AdjacentFusion, LowRankFusion, PooledFusion)


def run(layer: LayerSpec, ins: Ins, changed: int | None = None) -> list[torch.Tensor]:
    torch.manual_seed(0)
    module = layer.build(ins).eval()
    xs = [torch.randn(2, *shape.at(SIZE)) for shape in ins]
    if changed is not None:
        xs[changed] = xs[changed] + 5
    with torch.no_grad():
        return module(xs)


def receivers(layer: LayerSpec, changed: int) -> set[int]:
    """The branches whose output changes with an input."""
    pairs = zip(run(layer, FOUR), run(layer, FOUR, changed), strict=True)
    return {i for i, (before, after) in enumerate(pairs) if not torch.equal(before, after)}


@pytest.mark.parametrize("paths", ["separable", "dense"])
def test_neighbours_alone_receive(paths):
    layer = AdjacentFusion(paths=paths)
    assert [receivers(layer, j) for j in range(4)] == [{0, 1}, {0, 1, 2}, {1, 2, 3}, {2, 3}]


@pytest.mark.parametrize("layer", [LowRankFusion(), PooledFusion()])
def test_all_branches_receive(layer: LayerSpec):
    assert all(receivers(layer, j) == {0, 1, 2, 3} for j in range(4))


@pytest.mark.parametrize("paths", ["separable", "dense"])
def test_two_branches_are_neighbours(paths):
    adjacent, full = AdjacentFusion(paths=paths), SumFusion(paths=paths)
    assert adjacent.ops(TWO, SIZE) == full.ops(TWO, SIZE)
    for ours, theirs in zip(run(adjacent, TWO), run(full, TWO), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("paths", ["separable", "dense"])
def test_every_path_mixes_through_the_rank(paths):
    ins = (BranchShape(16, 4), BranchShape(32, 8), BranchShape(64, 16))
    module = LowRankFusion(paths=paths, ratio=4).build(ins)
    for i, into in enumerate(module.paths):
        for j, path in into.items():
            shapes = [tuple(p.shape) for p in path.parameters() if p.dim() == 4]
            narrow, widen = shapes[-2:]
            rank = min(ins[i].channels, ins[int(j)].channels) // 4
            assert narrow[0] == widen[1] == rank
            assert narrow[1] == ins[int(j)].channels
            assert widen[0] == ins[i].channels
    # A path up costs R·(C + D) at every position of the coarse branch.
    ops = LowRankFusion(paths=paths, ratio=4).ops(ins, SIZE)
    up = [op for op in ops if op.address.startswith("paths.0.2") and op.kind == "convolution"]
    assert macs(up) == 4 * (64 + 16) * 4 * 6


def test_a_rank_is_never_below_one():
    ops = LowRankFusion(ratio=1000).ops(TWO, SIZE)
    assert min(op.weights[0][0] for op in ops if op.kind == "convolution") == 1


def test_pooling_step_by_step_is_pooling_at_once():
    torch.manual_seed(0)
    module = PooledFusion().build(FOUR).eval()
    xs = [torch.randn(2, *shape.at(SIZE)) for shape in FOUR]
    with torch.no_grad():
        outs = module(xs)
        for i, out in enumerate(outs):
            total = xs[i].clone()
            for j, x in enumerate(xs):
                if j < i:
                    total += module.paths[i][str(j)](F.avg_pool2d(x, 2 ** (i - j)))
                elif j > i:
                    total += module.paths[i][str(j)](x)
            assert torch.allclose(out, total.relu(), atol=1e-5)


def test_pooling_happens_once_for_all_targets_and_multiplies_nothing():
    ops = PooledFusion().ops(FOUR, SIZE)
    assert sum(op.kind == "avg_pool" for op in ops) == 3 + 2 + 1
    widths = [shape.channels for shape in FOUR]
    positions = [(64 // shape.stride) * (96 // shape.stride) for shape in FOUR]
    expected = sum(
        widths[i] * widths[j] * positions[max(i, j)] for i in range(4) for j in range(4) if i != j
    )
    assert macs(ops) == expected


@pytest.mark.parametrize("cls", KINDS)
def test_nothing_to_exchange_is_said(cls: type[LayerSpec]):
    with pytest.raises(SpecError, match=r"needs at least two branches.*use the fusion 'none'"):
        cls().raise_problems((BranchShape(8, 4),))


@pytest.mark.parametrize("kind", ["adjacent_only", "low_rank", "pooled"])
def test_they_make_lite_hrnet_18_cheaper(kind):
    base = PRESETS["lite_hrnet_18"].make(17)
    other = spec_from_dict(apply_choices(spec_to_dict(base), {"fusion": kind}))
    size = ImageSize(256, 192)
    assert macs(other.operations(size)) < macs(base.operations(size))
