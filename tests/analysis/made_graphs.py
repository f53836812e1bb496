"""ONNX files that are made by hand, and ones that PyTorch exports."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from blocks import ImageSize

IMAGE = (1, 3, 32, 32)
Sides = Sequence[int | str | None]


def export(module: nn.Module, size: ImageSize, path: Path, *, dynamo: bool = False, **options):
    """Exports a module in eval mode."""
    image = torch.zeros(1, 3, size.height, size.width)
    with warnings.catch_warnings():
        # Both exporters warn of their own future.
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (image,), str(path), dynamo=dynamo, **options)
    return path


def taken(name: str, shape: Sides | None = IMAGE, kind: int = TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name: str, *shape: int):
    return numpy_helper.from_array(np.ones(shape, dtype=np.float32), name)


def numbers(name: str, *values: int):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def node(op_type: str, ins: Sequence[str], outs: Sequence[str], **attributes):
    return helper.make_node(op_type, ins, outs, name=f"{op_type}_{outs[0]}", **attributes)


def conv(read: str, filters: str, put_out: str, **attributes):
    return node("Conv", [read, filters], [put_out], pads=[1, 1, 1, 1], **attributes)


def write(path: Path, nodes, ins, held=(), *, outs=("y",), stated=(), functions=()) -> Path:
    """Writes a graph to a file; nothing checks it."""
    graph = helper.make_graph(
        nodes, "made", ins, [taken(name, None) for name in outs], held, value_info=stated
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("acme", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions)
    onnx.save(model, str(path))
    return path
