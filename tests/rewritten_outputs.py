"""How modules and what is made of them compare; for several tests of rewriting."""

import torch
from torch import nn

from blocks import ImageSize
from networks.deploy.channels import MOVEMENTS

SIZE = ImageSize(64, 32)
aten = torch.ops.aten


def trained(module: nn.Module) -> nn.Module:
    """Gives batch norms statistics and factors as a training leaves them."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.3, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.normal_(0, 0.3, generator=generator)
    return module.eval()


def off(module, other, size=SIZE, batch=1) -> float:
    """The largest difference, as a share of the largest output."""
    parameter = next(iter(module.state_dict().values()))
    image = torch.randn(
        batch, 3, size.height, size.width, generator=torch.Generator().manual_seed(2)
    )
    with torch.no_grad():
        expected, got = module(image.to(parameter.dtype)), other(image.to(parameter.dtype))
    assert expected.shape == got.shape
    assert expected.abs().max() > 0
    return ((got - expected).abs().max() / expected.abs().max()).item()


def off_plain(module, other) -> float:
    """The largest difference, for a module without parameters."""
    image = torch.randn(1, 3, SIZE.height, SIZE.width)
    return (module(image) - other(image)).abs().max().item()


def calls(module) -> dict[str, int]:
    """How often each operator that computes or copies is called."""
    counts: dict[str, int] = {}
    free = MOVEMENTS - {aten.cat.default, aten.index_select.default, aten.stack.default}
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target not in free:
            name = str(node.target)
            counts[name] = counts.get(name, 0) + 1
    return counts
