"""What is done last to a rewritten graph, for runtimes other than PyTorch."""

from __future__ import annotations

from torch import fx

from networks.deploy.apart import keep_apart
from networks.deploy.factors import factors_to_convolutions
from networks.deploy.heads import heads_to_products
from networks.deploy.late import gate_late
from networks.deploy.overwriting import make_new
from networks.deploy.padding import pad_hidden
from networks.deploy.pairs import part_pairs
from networks.deploy.picks import convolutions_to_picks, picks_to_convolutions
from networks.deploy.points import points_to_products
from networks.deploy.pools import means_to_convolutions, pools_to_convolutions
from networks.deploy.rows import multiply_rows

_BLOCK = 16
"""Channels that a runtime keeps side by side at most: 64 bytes of float32."""
_MOST_PICKED = 64
"""Channels among which OpenVINO is quicker to pick by a convolution (on AVX-512, to 1.7 times)."""


def finish(module: fx.GraphModule, *, blocked: bool) -> fx.GraphModule:
    """Writes a rewritten graph anew in the operators that other runtimes are quickest with.

    Args:
        module: A graph; it is left as it is.
        blocked: Whether it is for a runtime that keeps channels in blocks, and can neither take
            tensors apart so nor multiply them with one number for each channel. Such a runtime
            reorders all numbers before and behind each of these, which takes longer than a few
            more convolutions. Others are quicker with fewer operators.
    """
    graph = pools_to_convolutions(convolutions_to_picks(make_new(module)))
    if not blocked:
        graph = multiply_rows(gate_late(picks_to_convolutions(graph, _MOST_PICKED)))
        return points_to_products(heads_to_products(part_pairs(graph)))
    graph = factors_to_convolutions(pad_hidden(graph, _BLOCK))
    return means_to_convolutions(keep_apart(graph, _BLOCK), _BLOCK)
