"""What the blocks compute, against the same written down another way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from blocks import SLOTS, BlockSpec, BranchShape, Slot
from blocks.basic import Basic
from blocks.ccw import ConditionalChannelWeighting
from blocks.dynamic_split import DynamicSplit
from blocks.ghost import Ghost
from blocks.mobileone import MobileOne
from blocks.partial_conv import PartialConv
from blocks.repvit import RepViT
from blocks.split import Split
from blocks.star import Star
from blocks.susa import UnidimensionalAttention
from networks import GroupSpec, NetworkSpec, StageSpec, UnitSpec, initialise
from networks.aggregators import NoAggregator
from networks.fusions import SumFusion
from networks.heads import HeatmapHead
from networks.stems import LiteStem
from networks.transitions import SeparableTransition


def built(block: BlockSpec, channels: int, stride: int = 4, *, seed: int = 0) -> nn.Module:
    """The block's module over one branch in eval mode, batch norms as after some training."""
    torch.manual_seed(seed)
    module = block.build((BranchShape(channels, stride),)).double().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 1.5)
    return module


def images(channels: int, *, number: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn((number, channels, 6, 5), generator=generator, dtype=torch.float64)


def run(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module([x])[0]


def deinterleaved(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[:, 0::2], x[:, 1::2]


def bn(norm: nn.Module, x: Tensor) -> Tensor:
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


def test_mobileone_is_a_sum_that_merges_into_two_convolutions():
    module = built(MobileOne(num_convs=2), 6)
    x = images(6)
    expected = x
    for part in module[0]:
        # The norm of the input is a convolution with the identity; every 1x1 is a 3x3's middle.
        groups = part.convs[0].conv.groups
        kernel = max(conv.conv.kernel_size[0] for conv in part.convs)
        identity = torch.eye(6).double()[:, :, None, None]
        if groups == 6:
            identity = torch.ones(6, 1, 1, 1).double()
        weight = torch.zeros(6, 6 // groups, kernel, kernel).double()
        bias = torch.zeros(6).double()
        pairs = [(identity, part.norm), *((conv.conv.weight, conv.norm) for conv in part.convs)]
        for own, norm in pairs:
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            pad = (kernel - own.shape[-1]) // 2
            weight += F.pad(own, [pad] * 4) * scale[:, None, None, None]
            bias += norm.bias - norm.running_mean * scale
        expected = F.conv2d(expected, weight, bias, padding=kernel // 2, groups=groups).relu()
    assert torch.allclose(run(module, x), expected)


def test_dynamic_split_filters_every_image_of_a_batch_as_if_alone():
    module = built(DynamicSplit(), 64, 16)
    x = images(64)
    together = run(module, x)
    alone = torch.cat([run(module, image[None]) for image in x])
    assert torch.allclose(together, alone)
    # And the filters do depend on the image.
    mixed = module[0].groups[0][0]
    shares = mixed.convs(mixed.pool(x[:, 32:48])).flatten(1)
    assert not torch.allclose(shares[0], shares[1])


def test_dynamic_split_is_the_mixture_of_its_convolutions():
    module = built(DynamicSplit(), 8)
    x = images(8)
    mixed, norm = module[0].groups[0]
    worked = x[:, 4:]
    shares = mixed.convs(worked.mean(dim=(2, 3), keepdim=True))
    # A convolution is linear in its filters: mix what each of them gives.
    filters = mixed.weight.view(4, 4, 1, 3, 3)
    each = [F.conv2d(worked, one, padding=1, groups=4) for one in filters]
    expected = sum(shares[:, k, None] * y for k, y in enumerate(each))
    kept, y = deinterleaved(run(module, x))
    assert torch.equal(kept, x[:, :4])
    assert torch.allclose(y, bn(norm, expected))


def test_susa_weights_columns_and_then_rows():
    module = built(UnidimensionalAttention(), 8)
    x = images(8)
    columns, filtered, rows = module[0].parts

    def attend(part: nn.Module, x: Tensor, equation: str, across: int, along: int) -> Tensor:
        query = part.query(x.mean(dim=along, keepdim=True))
        shares = torch.exp(query) / torch.exp(query).sum(dim=across, keepdim=True)
        line = part.value(torch.einsum(equation, x, shares.squeeze(along)).unsqueeze(across))
        centred = line - line.mean(dim=1, keepdim=True)
        spread = (centred.square().mean(dim=1, keepdim=True) + part.norm.eps).sqrt()
        return x * torch.sigmoid(centred / spread)

    with torch.no_grad():
        y = attend(columns, x[:, 4:], "nchw,nch->ncw", 2, 3)
        y = attend(rows, filtered(y), "nchw,ncw->nch", 3, 2)
    kept, ours = deinterleaved(run(module, x))
    assert torch.equal(kept, x[:, :4])
    assert torch.allclose(ours, y)


def test_partial_conv_filters_a_quarter_before_it_mixes():
    module = built(PartialConv(), 8)
    x = images(8)
    first = module[0].partial(x[:, :2])
    expected = x + module[0].convs(torch.cat((first, x[:, 2:]), dim=1))
    assert torch.allclose(run(module, x), expected)
    # At one channel there is nothing that passes.
    assert run(built(PartialConv(divisor=2), 1), images(1)).shape == (3, 1, 6, 5)


def test_ghost_makes_a_half_of_the_channels_from_the_others():
    module = built(Ghost(expand_ratio=2), 5)
    x = images(5)
    first, second = module[0].convs
    wide = first.primary(x)
    wide = torch.cat((wide, first.cheap(wide)), dim=1)
    narrow = second.primary(wide)
    # Of an odd number of channels the last ghost is dropped.
    narrow = torch.cat((narrow, second.cheap(narrow)[:, :2]), dim=1)
    assert torch.allclose(run(module, x), x + narrow)


def test_star_multiplies():
    module = built(Star(expand_ratio=2, kernel=3), 4)
    x = images(4)
    convs = module[0].convs
    y = bn(convs["before"].norm, convs["before"].conv(x))
    product = convs["left"](y).clamp(0, 6) * convs["right"](y)
    expected = x + convs["after"](bn(convs["narrow"].norm, convs["narrow"].conv(product)))
    assert torch.allclose(run(module, x), expected)


def test_repvit_mixes_tokens_and_then_channels():
    module = built(RepViT(gate=True), 8)
    x = images(8)
    tokens, gate, mixer = module[0]
    y = bn(tokens.norm, bn(tokens.conv.norm, tokens.conv.conv(x)) + tokens.scale.conv(x) + x)
    y = y * gate.convs(y.mean(dim=(2, 3), keepdim=True))
    wide = F.gelu(mixer.convs[0].norm(mixer.convs[0].conv(y)))
    assert torch.allclose(run(module, x), y + mixer.convs[1](wide))


@pytest.mark.parametrize("divisor", [2, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_split_leaves_the_other_channels_as_they_were(divisor, shuffle):
    module = built(Split(block=Basic(), divisor=divisor, shuffle=shuffle), 16)
    x, part = images(16), 16 // divisor
    y = run(module, x)
    if shuffle:
        y = torch.cat([y[:, index::divisor] for index in range(divisor)], dim=1)
    assert torch.equal(y[:, :-part], x[:, :-part])
    assert torch.allclose(y[:, -part:], run(module.block, x[:, -part:]))


def test_split_around_weighting_sees_all_branches():
    ins = (BranchShape(8, 4), BranchShape(16, 8))
    module = Split(block=ConditionalChannelWeighting()).build(ins).eval()
    xs = [torch.randn(1, 8, 8, 8), torch.randn(1, 16, 4, 4)]
    before = module(xs)[0]
    after = module([xs[0], xs[1] + 1])[0]
    assert not torch.equal(before, after)


@pytest.mark.parametrize("kind", [entry.name for entry in SLOTS[Slot.BLOCK]])
def test_five_steps_of_training_are_finite_and_get_somewhere(kind):
    block = SLOTS[Slot.BLOCK].get(kind).cls()
    spec = NetworkSpec(
        stem=LiteStem(channels=8),
        stages=(
            StageSpec(
                transition=SeparableTransition(widths=(8, 16)),
                units=(
                    UnitSpec(
                        body=(GroupSpec(branches=(0, 1), block=block, depth=2),),
                        fusion=SumFusion(),
                    ),
                ),
            ),
        ),
        aggregator=NoAggregator(),
        head=HeatmapHead(num_outputs=2),
    )
    module = spec.build().train()
    initialise(module, "kaiming", seed=0)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn((4, 3, 32, 32), generator=generator)
    target = torch.randn((4, 2, 8, 8), generator=generator)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.mse_loss(module(image), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())
    assert losses[-1] < losses[0] < 10
