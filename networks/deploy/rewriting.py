"""Rewrites a network for deployment: the same outputs from fewer and cheaper operators."""

from __future__ import annotations

import torch
from torch import fx, nn

from blocks import ImageSize
from networks.deploy.building import NUM_SIDES
from networks.deploy.capturing import capture
from networks.deploy.channels import as_channels
from networks.deploy.folding import fold
from networks.deploy.gates import merge_gates
from networks.deploy.layout import order_channels
from networks.deploy.overwriting import overwrite
from networks.deploy.picks import picks_to_convolutions
from networks.deploy.siblings import merge_siblings
from networks.deploy.slices import merge_slices
from networks.deploy.sums import nest_sums

REWRITTEN = "rewritten"
"""Key of a graph's ``meta``: whether it was rewritten."""
STEPS = (
    as_channels,
    fold,
    order_channels,
    nest_sums,
    merge_siblings,
    merge_gates,
    merge_slices,
)
"""What is done to a captured graph, in order; each step leaves the outputs as they were."""
_MOST_PICKED = 256
"""Channels among which PyTorch is quicker to pick by a convolution (to 1.5 times)."""


def rewrite(module: nn.Module, size: ImageSize, *, batch: int = 1) -> nn.Module:
    """Returns a module with the outputs of another in eval mode, in fewer and cheaper operators.

    Batch norms, constant factors and parallel branches go into convolutions; channel shuffles,
    splits and concatenations into the order of weights; what several branches do side by side is
    done at once; sums over upsampled tensors are nested; what nobody reads any more is written
    over. Outputs differ only by rounding, since additions are made in another order; where a
    network computes numbers that are not finite, they may reach other channels. Shapes are
    fixed, nothing can be trained any more nor gradients taken, and weights lie in memory channels
    last, which PyTorch's convolutions on a CPU are fastest with.

    Args:
        module: A module from images (N, 3, H, W) to a tensor or several; it is left as it is.
        size: The images' size.
        batch: How many images go in at once.

    Returns:
        A graph of PyTorch's operators: every node has the address of the module that it came
        from, constants have the names of the weights.

    Raises:
        CaptureError: If what the module computes depends on the image's values.
    """
    graph = capture(module, size, batch=batch)
    for step in STEPS:
        graph = step(graph)
    graph = _channels_last(overwrite(picks_to_convolutions(graph, _MOST_PICKED)))
    graph.meta[REWRITTEN] = True
    return graph


def _channels_last(graph: fx.GraphModule) -> fx.GraphModule:
    for constant in graph.buffers():
        if constant.dim() == NUM_SIDES:
            constant.data = constant.contiguous(memory_format=torch.channels_last)
    return graph
