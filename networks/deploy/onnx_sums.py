"""ONNX for operators that sum over several numbers: means, norms, matrix products, attention."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch

from networks.deploy.building import aten
from networks.deploy.onnx_calls import Call, Converter, Value

_MAPS = 4


def _mean(call: Call) -> Value:
    rank = len(call.shape("self"))
    is_kept = call.has("keepdim") and call["keepdim"]
    if _dims(call) == [2, 3] and rank == _MAPS and is_kept:
        return call.add("GlobalAveragePool", [call.value("self")])
    return _reduce("ReduceMean", call)


def _reduce(operator: str, call: Call) -> Value:
    if not call.is_own_type("dtype"):
        raise call.refuse(
            "a network keeps one type of numbers throughout",
            str(call["dtype"]),
            "leave dtype out",
        )
    axes = call.integers("axes", _dims(call))
    keepdims = int(call["keepdim"]) if call.has("keepdim") else 0
    return call.add(operator, [call.value("self"), axes], {"keepdims": keepdims})


def _dims(call: Call) -> list[int]:
    """Returns the dimensions that go; none said are all."""
    rank = len(call.shape("self"))
    given = call["dim"] if call.has("dim") else []
    return sorted(each % rank for each in given) or list(range(rank))


def _softmax(operator: str, call: Call) -> Value:
    axis = call["dim"] % len(call.out)
    return call.add(operator, [call.value("self")], {"axis": axis})


def _batch_norm(call: Call) -> tuple[Value, ...]:
    if call.has("training") and call["training"]:
        raise call.refuse(
            "a norm that is exported has statistics of its own",
            "one that takes them from each image",
            "use a batch norm or a group norm",
        )
    channels = call.shape("running_mean")[0]
    weight = call.value("weight") or call.floats("scale", torch.ones(channels))
    bias = call.value("bias") or call.floats("shift", torch.zeros(channels))
    statistics = [call.value("running_mean"), call.value("running_var")]
    inputs = [call.value("input"), weight, bias, *statistics]
    return (call.add("BatchNormalization", inputs, {"epsilon": call["eps"]}),)


def _layer_norm(call: Call) -> tuple[Value, ...]:
    shape = tuple(call["normalized_shape"])
    weight = call.value("weight") or call.floats("scale", torch.ones(shape))
    attributes = {"axis": len(call.shape("input")) - len(shape), "epsilon": call["eps"]}
    inputs = [call.value("input"), weight, call.value("bias")]
    return (call.add("LayerNormalization", inputs, attributes),)


def _group_norm(call: Call) -> tuple[Value, ...]:
    """Every group is an instance of its own; scale and shift follow."""
    shape, groups = call.shape("input"), call["group"]
    rows = call.reshape(call.value("input"), (shape[0], groups, math.prod(shape[1:]) // groups))
    scale = call.floats("scale", torch.ones(groups))
    shift = call.floats("shift", torch.zeros(groups))
    made = call.add("InstanceNormalization", [rows, scale, shift], {"epsilon": call["eps"]})
    made = call.reshape(made, shape)
    channels = (shape[1], *[1] * (len(shape) - 2))
    for operator, name in (("Mul", "weight"), ("Add", "bias")):
        if call.has(name):
            made = call.add(operator, [made, call.reshape(call.value(name), channels)])
    return (made,)


def _matmul(left: str, right: str, call: Call) -> Value:
    return call.add("MatMul", [call.value(left), call.value(right)])


def _addmm(call: Call) -> Value:
    attributes = {name: float(call[name]) for name in ("alpha", "beta")}
    return call.add(
        "Gemm", [call.value("mat1"), call.value("mat2"), call.value("self")], attributes
    )


def _linear(call: Call) -> Value:
    inputs = [call.value("input"), call.value("weight"), call.value("bias")]
    if len(call.shape("input")) == 2:  # noqa: PLR2004 - a matrix
        return call.add("Gemm", inputs, {"transB": 1})
    turned = call.add("Transpose", [inputs[1]], {"perm": [1, 0]})
    product = call.add("MatMul", [inputs[0], turned])
    return call.add("Add", [product, inputs[2]]) if inputs[2] else product


def _attention(call: Call) -> tuple[Value, ...]:
    """Softmax of scaled products of queries and keys, times values (arXiv 1706.03762, eq. 1)."""
    if call["is_causal"]:
        raise call.refuse(
            "attention that is exported sees all places", "a causal mask", "leave is_causal out"
        )
    scale = call["scale"] if call.has("scale") else 1 / math.sqrt(call.shape("query")[-1])
    keys = call.add("Transpose", [call.value("key")], {"perm": [0, 1, 3, 2]})
    scores = call.add("MatMul", [call.value("query"), keys])
    scores = call.add("Mul", [scores, call.number(scale)])
    if call.has("attn_mask"):
        scores = call.add("Add", [scores, call.value("attn_mask")])
    return (call.add("MatMul", [call.add("Softmax", [scores], {"axis": -1}), call.value("value")]),)


CONVERTERS: dict[Any, Converter] = {
    aten.mean.default: _mean,
    aten.mean.dim: _mean,
    aten.sum.default: partial(_reduce, "ReduceSum"),
    aten.sum.dim_IntList: partial(_reduce, "ReduceSum"),
    aten.amax.default: partial(_reduce, "ReduceMax"),
    aten.amin.default: partial(_reduce, "ReduceMin"),
    aten._softmax.default: partial(_softmax, "Softmax"),  # noqa: SLF001 - the operator's name
    aten.softmax.int: partial(_softmax, "Softmax"),
    aten._log_softmax.default: partial(_softmax, "LogSoftmax"),  # noqa: SLF001
    aten.native_batch_norm.default: _batch_norm,
    aten._native_batch_norm_legit_no_training.default: _batch_norm,  # noqa: SLF001
    aten.native_layer_norm.default: _layer_norm,
    aten.native_group_norm.default: _group_norm,
    aten.mm.default: partial(_matmul, "self", "mat2"),
    aten.bmm.default: partial(_matmul, "self", "mat2"),
    aten.matmul.default: partial(_matmul, "self", "other"),
    aten.addmm.default: _addmm,
    aten.linear.default: _linear,
    aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,  # noqa: SLF001
}
"""By operator, how it is written."""
