"""Finds the types of numbers in a graph's tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from networks.deploy.building import constants_of, shape_of
from networks.deploy.capturing import DTYPE, TYPES


class NumberTypes(fx.Interpreter):
    """Finds the types of numbers in every tensor of a graph, in a pass over an empty image.

    Args:
        module: A captured graph.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        (image,) = (node for node in module.graph.nodes if node.op == "placeholder")
        self._dtypes: dict[str, torch.dtype] = {}
        with torch.no_grad():
            self.run(_empty(image, module))

    def of(self, node: fx.Node) -> torch.dtype | None:
        """Returns the type of a node's numbers; None where it makes several tensors."""
        return self._dtypes.get(node.name)

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - as PyTorch declares it
        """Runs one node."""
        found = super().run_node(n)
        if isinstance(found, Tensor):
            self._dtypes[n.name] = found.dtype
        return found


def _empty(image: fx.Node, module: fx.GraphModule) -> Tensor:
    """Returns an empty image, of the numbers and on the device of what the module was made of.

    It may have been moved, or given other numbers, since it was captured.
    """
    floats = [each for each in constants_of(module).values() if each.is_floating_point()]
    empty = torch.zeros(shape_of(image), dtype=image.meta[DTYPE])
    alike = [each for each in floats if each.dtype is empty.dtype] or floats
    if not alike:
        return empty
    at_first = image.meta[TYPES]
    is_converted = empty.dtype in at_first or alike[0].dtype not in at_first
    return empty.to(alike[0]) if is_converted else empty.to(alike[0].device)
