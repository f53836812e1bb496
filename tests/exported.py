"""What tests of exported networks share: weights that show faults, runtimes, what may not occur."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from blocks import ImageSize
from networks.deploy.onnx_writing import to_onnx
from networks.deploy.rewriting import rewrite

RUNTIMES = tuple(
    name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name) is not None
)
"""The runtimes that are installed."""

LARGEST = 1e-3
"""How far an output may be off at most, as a share of the largest."""
ON_AVERAGE = 1e-4
"""How far outputs may be off on average (root mean square), as a share of their average."""

_FORBIDDEN = {"ScatterND", "ScatterElements", "NonZero", "Shape", "Loop", "If"}


def randomised(module: nn.Module, size: ImageSize) -> nn.Module:
    """Gives batch norms scales, shifts and statistics, as a training would.

    A fresh network's outputs hang on the last bias alone, and hide faults before it.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(0, 0.2, generator=generator)
            # The statistics of one batch, in full.
            norm.momentum = 1.0
        module.train()(images(size, 4))
        for norm in norms:
            # Channels that hardly vary in one small batch would blow rounding errors up.
            norm.running_var.lerp_(norm.running_var.mean(), 0.5)
    return module.eval()


def images(size: ImageSize, batch: int = 1) -> Tensor:
    """Random images."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, size.height, size.width, generator=generator)


def run(runtime: str, model: onnx.ModelProto, image: Tensor) -> list[np.ndarray]:
    """Runs a model on one thread and in single precision."""
    data = model.SerializeToString()
    return _RUNS[runtime](data, image.numpy())


def _in_onnxruntime(data: bytes, image: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})


def _in_openvino(data: bytes, image: np.ndarray) -> list[np.ndarray]:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(data), "CPU", settings)
    made = compiled([image])
    return [made[each] for each in compiled.outputs]


_RUNS = {"onnxruntime": _in_onnxruntime, "openvino": _in_openvino}


def check_export(
    module: nn.Module, size: ImageSize, *, batch: int = 1, is_rewritten: bool = False
) -> onnx.ModelProto:
    """Exports a module, and runs the file, of a rewritten one both, in every runtime there is."""
    written = rewrite(module, size, batch=batch) if is_rewritten else module
    image = images(size, batch)
    with torch.no_grad():
        expected = module(image)
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    models = [to_onnx(written, size, batch=batch)]
    if is_rewritten:
        models.append(to_onnx(written, size, batch=batch, blocked=True))
    for model in models:
        onnx.checker.check_model(model, full_check=True)
        assert forbidden(model) == []
        for runtime in RUNTIMES:
            made = run(runtime, model, image)
            assert len(made) == len(expected)
            for got, want in zip(made, expected, strict=True):
                check_close(runtime, got, want.numpy())
    return models[0]


def check_close(runtime: str, got: np.ndarray, want: np.ndarray) -> None:
    """Checks outputs against those of the module itself."""
    assert got.shape == want.shape
    off = got.astype(np.float64) - want
    assert np.abs(want).max() > 0
    assert np.abs(off).max() <= LARGEST * np.abs(want).max(), runtime
    mean = np.sqrt((want.astype(np.float64) ** 2).mean())
    assert np.sqrt((off**2).mean()) <= ON_AVERAGE * mean, runtime


def forbidden(model: onnx.ModelProto) -> list[str]:
    """Lists what a model has that some runtime handles badly or not at all."""
    graph = model.graph
    sides = {each.name: list(each.dims) for each in graph.initializer}
    described = [*graph.input, *graph.output, *graph.value_info]
    found = [
        f"{each.name}: an open side"
        for each in described
        if not all(dim.HasField("dim_value") for dim in each.type.tensor_type.shape.dim)
    ]
    found += [
        f"{each.name}: more than four dimensions"
        for each in described
        if len(each.type.tensor_type.shape.dim) > 4
    ]
    known = {each.name for each in described}
    for node in graph.node:
        if node.op_type in _FORBIDDEN:
            found.append(f"{node.name}: {node.op_type}")
        if node.op_type == "Reshape" and sides[node.input[1]] > [4]:
            found.append(f"{node.name}: a shape with {sides[node.input[1]]} entries")
        found += [f"{node.name}: no shape of {out}" for out in node.output if out not in known]
    names = [node.name for node in graph.node]
    if len(set(names)) < len(names) or not all(names):
        found.append("nodes without a name of their own")
    return found
