"""Lite-HRNet as the published code executes it: the baseline of the training benchmark.

The same function as the preset, with all that the published code spends on it: each path from
branch 0 run twice, halves that are cut, joined and then shuffled by a copy, adaptive pooling, and
sums that start from their first path. Written from the description of the published network
(HRNet/Lite-HRNet at commit 7b9049d); tensors bear its names, so a state dict of this module is a
checkpoint that ``load_released`` reads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

_STEM = 32
_DEPTH = 2


class PublishedLiteHRNet(nn.Module):
    """The network: backbone and key-point head.

    Args:
        num_outputs: Channels that are put out.
        widths: Channels of the four branches.
        num_units: Units of the three stages.

    Shape:
        (N, 3, H, W) to (N, num_outputs, H/4, W/4).
    """

    def __init__(
        self,
        num_outputs: int = 17,
        *,
        widths: tuple[int, ...] = (40, 80, 160, 320),
        num_units: tuple[int, ...] = (2, 4, 2),
    ) -> None:
        super().__init__()
        self.backbone = _Backbone(widths, num_units)
        self.keypoint_head = nn.Module()
        self.keypoint_head.final_layer = nn.Conv2d(widths[0], num_outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Puts out the heat maps."""
        out: Tensor = self.keypoint_head.final_layer(self.backbone(image)[0])
        return out


class _Backbone(nn.Module):
    def __init__(self, widths: tuple[int, ...], num_units: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _Stem()
        before: tuple[int, ...] = (_STEM,)
        for stage, count in enumerate(num_units):
            now = widths[: stage + 2]
            self.add_module(f"transition{stage}", _transition(before, now))
            self.add_module(f"stage{stage}", nn.Sequential(*(_Unit(now) for _ in range(count))))
            before = now
        self.num_stages = len(num_units)
        self.head_layer = _IterativeHead(widths)

    def forward(self, image: Tensor) -> list[Tensor]:
        xs = [self.stem(image)]
        for stage in range(self.num_stages):
            last = len(xs) - 1
            paths = self.get_submodule(f"transition{stage}")
            assert isinstance(paths, nn.ModuleList)
            xs = [path(xs[min(index, last)]) for index, path in enumerate(paths)]
            xs = self.get_submodule(f"stage{stage}")(xs)
        outs: list[Tensor] = self.head_layer(xs)
        return outs


class _ConvNorm(nn.Module):
    """A convolution with batch norm and an activation, as far as they are there."""

    def __init__(  # noqa: PLR0913 - the settings of a convolution
        self,
        ins: int,
        outs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        act: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            ins, outs, kernel, stride, padding=kernel // 2, groups=groups, bias=not norm
        )
        self.bn = nn.BatchNorm2d(outs) if norm else None
        self.activate = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        return x if self.activate is None else self.activate(x)


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def _depthwise(channels: int, stride: int = 1) -> _ConvNorm:
    return _ConvNorm(channels, channels, 3, stride=stride, groups=channels)


def _shuffled(x: Tensor) -> Tensor:
    """Channel shuffle with two groups, by a copy."""
    batch, channels, height, width = x.shape
    pairs = x.view(batch, 2, channels // 2, height, width)
    return pairs.transpose(1, 2).contiguous().view(batch, channels, height, width)


class _Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        half = _STEM // 2
        self.conv1 = _ConvNorm(3, _STEM, 3, stride=2, act=_relu())
        self.branch1 = nn.Sequential(_depthwise(half, 2), _ConvNorm(half, half, act=_relu()))
        self.expand_conv = _ConvNorm(half, _STEM, act=_relu())
        self.depthwise_conv = _depthwise(_STEM, 2)
        self.linear_conv = _ConvNorm(_STEM, half, act=_relu())

    def forward(self, image: Tensor) -> Tensor:
        first, second = self.conv1(image).chunk(2, dim=1)
        second = self.linear_conv(self.depthwise_conv(self.expand_conv(second)))
        return _shuffled(torch.cat((self.branch1(first), second), dim=1))


def _transition(before: tuple[int, ...], now: tuple[int, ...]) -> nn.ModuleList:
    paths: list[nn.Module] = []
    for branch, width in enumerate(now):
        if branch >= len(before):
            # A new branch is one step, in a sequence of steps.
            paths.append(nn.Sequential(_step(before[-1], width, 2, act=True)))
        elif before[branch] == width:
            paths.append(nn.Identity())
        else:
            paths.append(_step(before[branch], width, 1, act=True))
    return nn.ModuleList(paths)


def _step(ins: int, outs: int, stride: int, *, act: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(ins, ins, 3, stride, padding=1, groups=ins, bias=False),
        nn.BatchNorm2d(ins),
        nn.Conv2d(ins, outs, 1, bias=False),
        nn.BatchNorm2d(outs),
    ]
    return nn.Sequential(*layers, _relu()) if act else nn.Sequential(*layers)


class _Unit(nn.Module):
    """Two blocks over all branches, then the fusion."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_Weighting(widths) for _ in range(_DEPTH)))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_path(widths, j, i) for j in range(len(widths)))
            for i in range(len(widths))
        )
        self.relu = nn.ReLU()

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        xs = self.layers(xs)
        outs = []
        for i, paths in enumerate(self.fuse_layers):
            assert isinstance(paths, nn.ModuleList)
            # The sums are made in place: that of branch 0 changes what the others read.
            total = xs[0] if i == 0 else paths[0](xs[0])
            for j, x in enumerate(xs):
                total += x if j == i else paths[j](x)
            outs.append(self.relu(total))
        return outs


def _path(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
    if source == target:
        return nn.Identity()
    ins, outs = widths[source], widths[target]
    if source > target:
        return nn.Sequential(
            nn.Conv2d(ins, outs, 1, bias=False),
            nn.BatchNorm2d(outs),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    num_steps = target - source
    steps = [_step(ins, ins, 2, act=True) for _ in range(num_steps - 1)]
    return nn.Sequential(*steps, _step(ins, outs, 2, act=False))


class _Weighting(nn.Module):
    """Conditional channel weighting."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        halves = [width // 2 for width in widths]
        self.cross_resolution_weighting = _CrossResolution(halves)
        self.depthwise_convs = nn.ModuleList(_depthwise(half) for half in halves)
        self.spatial_weighting = nn.ModuleList(_Spatial(half) for half in halves)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        pairs = [x.chunk(2, dim=1) for x in xs]
        worked = self.cross_resolution_weighting([second for _, second in pairs])
        worked = [conv(x) for conv, x in zip(self.depthwise_convs, worked, strict=True)]
        worked = [gate(x) for gate, x in zip(self.spatial_weighting, worked, strict=True)]
        joined = [torch.cat((first, x), dim=1) for (first, _), x in zip(pairs, worked, strict=True)]
        return [_shuffled(x) for x in joined]


class _CrossResolution(nn.Module):
    def __init__(self, halves: list[int], reduce_ratio: int = 8) -> None:
        super().__init__()
        total = sum(halves)
        self.halves = halves
        self.conv1 = _ConvNorm(total, total // reduce_ratio, act=_relu())
        self.conv2 = _ConvNorm(total // reduce_ratio, total, act=nn.Sigmoid())

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        coarsest = xs[-1].shape[2:]
        pooled = [F.adaptive_avg_pool2d(x, coarsest) for x in xs[:-1]]
        weights = self.conv2(self.conv1(torch.cat([*pooled, xs[-1]], dim=1)))
        parts = weights.split(self.halves, dim=1)
        return [
            x * F.interpolate(part, size=x.shape[2:], mode="nearest")
            for x, part in zip(xs, parts, strict=True)
        ]


class _Spatial(nn.Module):
    def __init__(self, channels: int, reduce_ratio: int = 4) -> None:
        super().__init__()
        hidden = channels // reduce_ratio
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.conv1 = _ConvNorm(channels, hidden, norm=False, act=_relu())
        self.conv2 = _ConvNorm(hidden, channels, norm=False, act=nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.conv2(self.conv1(self.global_avgpool(x)))
        return out


class _IterativeHead(nn.Module):
    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        sources = widths[::-1]
        targets = (*sources[1:], sources[-1])
        self.projects = nn.ModuleList(
            _Separable(ins, outs) for ins, outs in zip(sources, targets, strict=True)
        )

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        outs: list[Tensor] = []
        for x, project in zip(xs[::-1], self.projects, strict=True):
            if outs:
                size = x.shape[2:]
                x = x + F.interpolate(outs[-1], size=size, mode="bilinear", align_corners=True)  # noqa: PLW2901
            outs.append(project(x))
        return outs[::-1]


class _Separable(nn.Module):
    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.depthwise_conv = _depthwise(ins)
        self.pointwise_conv = _ConvNorm(ins, outs, act=_relu())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return out
