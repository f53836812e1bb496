"""Writes a network as an ONNX model for one image size: the way to other runtimes."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import fx, nn

from blocks import BranchworkError, ImageSize, Problem
from networks.codec import canonical_json, spec_id
from networks.deploy.capturing import ADDRESS, SHAPE, capture
from networks.deploy.channels import as_channels
from networks.deploy.finishing import finish
from networks.deploy.onnx_names import PROPERTIES
from networks.deploy.overwriting import make_new
from networks.deploy.rewriting import REWRITTEN
from networks.spec import NetworkSpec

if TYPE_CHECKING:
    from onnx import ModelProto


def to_onnx(  # noqa: PLR0913 - what a file says of itself
    module: nn.Module,
    size: ImageSize,
    *,
    batch: int = 1,
    blocked: bool = False,
    name: str = "",
    spec: NetworkSpec | None = None,
    notes: Mapping[str, str] | None = None,
) -> ModelProto:
    """Returns what a module computes as an ONNX model in which every size is fixed.

    Nodes are named by the address that executed them and by what they do, weights as in the
    state dict. Tensors have at most four dimensions, and no pooling adapts to its input. The
    model has passed ONNX's checker, and its shapes are those of the module.

    Args:
        module: A module from images (N, 3, H, W) to a tensor or several, or its captured graph;
            it is left as it is.
        size: The images' size.
        batch: How many images go in at once.
        blocked: Whether a rewritten network is for a runtime that keeps channels in blocks, as
            ONNX Runtime does on CPUs, where OpenVINO does not.
        name: What the model is called.
        spec: The network that it is, written into the model with its spec_id.
        notes: More for the model's ``metadata_props``, by name.

    Returns:
        A model with the input ``image`` and the output ``maps``, or ``maps_0``, ``maps_1`` and so
        on where the module puts out several tensors.

    Raises:
        ExportError: With every operator that cannot be written.
        CaptureError: If what the module computes depends on the image's values.
        BranchworkError: If the package ``onnx`` is missing.
    """
    check_onnx_is_installed()
    from networks.deploy.onnx_translating import translate

    properties = {"input": str(size), "batch": str(batch), **(notes or {})}
    if spec is not None:
        properties |= {"spec": canonical_json(spec), "spec_id": spec_id(spec)}
    captured = _captured(module, size, batch)
    graph = as_channels(make_new(captured))
    if captured.meta.get(REWRITTEN):
        graph = finish(graph, blocked=blocked)
    return translate(
        graph,
        name or "network",
        {f"{PROPERTIES}{key}": value for key, value in properties.items()},
    )


def check_onnx_is_installed() -> None:
    """Checks that ONNX models can be written.

    Raises:
        BranchworkError: If not.
    """
    if importlib.util.find_spec("onnx") is None:
        raise BranchworkError(
            Problem(
                where="export",
                rule="ONNX models are written with the package onnx",
                got="an installation without it",
                do='pip install "branchwork[export]"',
            )
        )


def _captured(module: nn.Module, size: ImageSize, batch: int) -> fx.GraphModule:
    """Returns the module's graph; its own where it is one, which keeps the addresses."""
    if isinstance(module, fx.GraphModule):
        nodes = list(module.graph.nodes)
        images = [node.meta.get(SHAPE) for node in nodes if node.op == "placeholder"]
        is_known = all(
            {ADDRESS, SHAPE} <= node.meta.keys() or node.op == "output" for node in nodes
        )
        if is_known and images == [(batch, 3, size.height, size.width)]:
            return module
    return capture(module, size, batch=batch)
