"""ONNX's operators in our words: what each computes, which inputs are weights, how it is counted.

A table and the few rules that it names. What stands nowhere in here is not counted, and said so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from blocks import Shape


@dataclass(frozen=True, kw_only=True)
class Call:
    """One node with everything known, all shapes with their batch dimension.

    Attributes:
        ins: Shapes of its inputs, by position; None where an optional one is left out.
        values: Their values where these are small constants, None for the others.
        out: Shape of its first output.
        attributes: Its attributes.
        has_weights: Whether some input is a weight.
    """

    ins: tuple[Shape | None, ...]
    values: tuple[Any, ...]
    out: Shape
    attributes: Mapping[str, Any]
    has_weights: bool

    def side(self, index: int) -> Shape:
        """Returns the shape of an input that the operator always has."""
        shape = self.ins[index]
        assert shape is not None
        return shape

    def value(self, index: int) -> Any:  # noqa: ANN401 - a small array of whatever type
        """Returns the value of an input, None if it is left out or no constant."""
        return self.values[index] if index < len(self.values) else None


Macs = Callable[[Call], int | None]
"""Multiply-accumulates of a call with its whole batch; None if this call has no formula."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What an ONNX operator is to us.

    Attributes:
        kind: What it computes, as ``Op.kind``.
        module: The ``torch.nn`` leaf module that computes this, as ``Op.module``.
        weights: Positions of the inputs that are weights if they are constants.
        takes_any_weight: Whether every floating-point constant with more than one element that it
            reads is a weight (a bias that is added, a scale that is multiplied, a matrix).
        macs: Its multiply-accumulates; None if it has none.
        name: Its kind and module, where these depend on the call.
        window: Whether it slides a window of ``kernel_shape``.
        writes_all: Whether its outputs together are what it reads.
    """

    kind: str
    module: str = ""
    weights: tuple[int, ...] = ()
    takes_any_weight: bool = False
    macs: Macs | None = None
    name: Callable[[Call], tuple[str, str]] | None = None
    window: bool = False
    writes_all: bool = False

    def names(self, call: Call) -> tuple[str, str]:
        """Returns the kind and the module of a call."""
        return self.name(call) if self.name else (self.kind, self.module)


VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
"""Operators that only relabel memory in eval mode; they count nothing."""

SHAPE_READERS = frozenset({"Shape", "Size"})
"""Operators that read a shape and no values, so that what they put out is a constant."""

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Operators that run graphs of their own, how often or whether at all is not known."""


def _conv(call: Call, *, filters: int = 1) -> int | None:
    weight, image = call.side(filters), call.side(0)
    if image[1] != weight[1] * call.attributes.get("group", 1):
        return None
    return math.prod(call.out) * math.prod(weight[1:])


def _conv_transpose(call: Call) -> int | None:
    weight, image = call.side(1), call.side(0)
    return math.prod(image) * math.prod(weight[1:]) if image[1] == weight[0] else None


def _gemm(call: Call) -> int:
    return math.prod(call.out) * call.side(0)[0 if call.attributes.get("transA", 0) else 1]


def _matmul(call: Call) -> int:
    return math.prod(call.out) * call.side(0)[-1]


def _einsum(call: Call) -> int | None:
    """Counts a product of two tensors in which every index is put out or is summed over in both."""
    equation = call.attributes["equation"].decode().replace(" ", "")
    left, arrow, put_out = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in left or len(terms) != 2:  # noqa: PLR2004 - a product of two
        return None
    sides: dict[str, int] = {}
    for index, term in enumerate(terms):
        sides |= dict(zip(term, call.side(index), strict=True))
    in_both = set(terms[0]) & set(terms[1])
    if any(len(set(term)) < len(term) for term in terms) or set(sides) - set(put_out) - in_both:
        return None
    return math.prod(sides.values())


def _matmul_name(call: Call) -> tuple[str, str]:
    return ("mm", "Linear") if call.has_weights else ("bmm", "")


def _clip_name(call: Call) -> tuple[str, str]:
    bounds = [
        call.attributes.get(name, call.value(index)) for index, name in ((1, "min"), (2, "max"))
    ]
    if all(bound is not None for bound in bounds) and [float(bound) for bound in bounds] == [0, 6]:
        return "relu6", "ReLU6"
    return "clamp", ""


def _resize_name(call: Call) -> tuple[str, str]:
    mode = call.attributes.get("mode", b"nearest").decode()
    return _RESIZES.get(mode, f"upsample_{mode}"), "Upsample"


def _mean_name(call: Call) -> tuple[str, str]:
    """A mean over all positions is a pooling to a point, however the exporter writes it."""
    is_pooling = len(call.out) > 2 and call.out == (*call.side(0)[:2], *[1] * (len(call.out) - 2))  # noqa: PLR2004 - batch and channels
    return "mean", _POOL_TO_POINT if is_pooling else ""


_RESIZES = {
    "nearest": "upsample_nearest",
    "linear": "upsample_bilinear",
    "cubic": "upsample_bicubic2d",
}
_POOL_TO_POINT = "AdaptiveAvgPool2d"

_NAMED_ALIKE = (
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor Log Neg Reciprocal Round "
    "Sign Sin Sinh Sqrt Tan IsNaN IsInf Not Celu Shrink ThresholdedRelu CumSum CumProd ArgMax "
    "ArgMin Hardmax TopK OneHot LRN LpNormalization MeanVarianceNormalization "
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceProd ReduceSumSquare GlobalLpPool"
)
_OF_TWO = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Pow": "pow",
    "Min": "minimum",
    "Max": "maximum",
    "Sum": "add",
    "Mean": "mean",
    "Mod": "remainder",
    "PRelu": "prelu",
}
_COMPARED = {
    "And": "logical_and",
    "Or": "logical_or",
    "Xor": "logical_xor",
    "Equal": "eq",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
    "Where": "where",
    "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor",
    "BitwiseNot": "bitwise_not",
    "BitShift": "bitwise_shift",
}
_ACTIVATIONS = {
    "Relu": ("relu", "ReLU"),
    "Sigmoid": ("sigmoid", "Sigmoid"),
    "Tanh": ("tanh", "Tanh"),
    "LeakyRelu": ("leaky_relu", "LeakyReLU"),
    "Elu": ("elu", "ELU"),
    "Selu": ("selu", "SELU"),
    "Gelu": ("gelu", "GELU"),
    "Mish": ("mish", "Mish"),
    "Swish": ("silu", "SiLU"),
    "Softplus": ("softplus", "Softplus"),
    "Softsign": ("softsign", "Softsign"),
    "HardSigmoid": ("hardsigmoid", "Hardsigmoid"),
    "HardSwish": ("hardswish", "Hardswish"),
    "Softmax": ("softmax", "Softmax"),
    "LogSoftmax": ("log_softmax", "LogSoftmax"),
    "GlobalAveragePool": ("mean", _POOL_TO_POINT),
    "GlobalMaxPool": ("amax", "AdaptiveMaxPool2d"),
    "ReduceMax": ("amax", ""),
    "ReduceMin": ("amin", ""),
    "ReduceSum": ("sum", ""),
    "GridSample": ("grid_sampler_2d", ""),
    "QuantizeLinear": ("quantize", ""),
    "DequantizeLinear": ("dequantize", ""),
    "DynamicQuantizeLinear": ("quantize", ""),
    "RandomNormalLike": ("randn_like", ""),
    "RandomUniformLike": ("rand_like", ""),
}
_MOVES = {
    "Concat": "cat",
    # What PyTorch does with views costs a copy here.
    "Transpose": "clone",
    "Slice": "clone",
    "Trilu": "clone",
    "Expand": "repeat",
    "Tile": "repeat",
    "Pad": "constant_pad_nd",
    "Gather": "gather",
    "GatherElements": "gather",
    "GatherND": "gather",
    "ScatterElements": "scatter",
    "ScatterND": "scatter",
    "DepthToSpace": "pixel_shuffle",
    "SpaceToDepth": "pixel_unshuffle",
    "Cast": "_to_copy",
    "CastLike": "_to_copy",
    "ReverseSequence": "flip",
}

OPERATORS: dict[str, Operator] = {
    **{name: Operator(kind=name.lower()) for name in _NAMED_ALIKE.split()},
    **{name: Operator(kind=kind, takes_any_weight=True) for name, kind in _OF_TWO.items()},
    **{name: Operator(kind=kind) for name, kind in _COMPARED.items()},
    **{name: Operator(kind=kind, module=module) for name, (kind, module) in _ACTIVATIONS.items()},
    **{name: Operator(kind=kind, takes_any_weight=True) for name, kind in _MOVES.items()},
    "Split": Operator(kind="clone", writes_all=True),
    "Conv": Operator(kind="convolution", module="Conv2d", weights=(1, 2), macs=_conv),
    "ConvTranspose": Operator(
        kind="conv_transpose", module="ConvTranspose2d", weights=(1, 2), macs=_conv_transpose
    ),
    "ConvInteger": Operator(kind="convolution", module="Conv2d", weights=(1,), macs=_conv),
    "QLinearConv": Operator(
        kind="convolution", module="Conv2d", weights=(3, 8), macs=partial(_conv, filters=3)
    ),
    "Gemm": Operator(kind="addmm", module="Linear", weights=(0, 1, 2), macs=_gemm),
    "MatMul": Operator(kind="mm", weights=(0, 1), macs=_matmul, name=_matmul_name),
    "MatMulInteger": Operator(kind="mm", weights=(0, 1), macs=_matmul, name=_matmul_name),
    "QLinearMatMul": Operator(kind="mm", weights=(0, 3), macs=_matmul, name=_matmul_name),
    "Einsum": Operator(kind="einsum", weights=(0, 1), macs=_einsum),
    # The running mean and variance, inputs 3 and 4, are not learnt.
    "BatchNormalization": Operator(kind="batch_norm", module="BatchNorm2d", weights=(1, 2)),
    "InstanceNormalization": Operator(
        kind="instance_norm", module="InstanceNorm2d", weights=(1, 2)
    ),
    "LayerNormalization": Operator(kind="layer_norm", module="LayerNorm", weights=(1, 2)),
    "GroupNormalization": Operator(kind="native_group_norm", module="GroupNorm", weights=(1, 2)),
    "RMSNormalization": Operator(kind="_fused_rms_norm", module="RMSNorm", weights=(1,)),
    "AveragePool": Operator(kind="avg_pool", module="AvgPool2d", window=True),
    "MaxPool": Operator(kind="max_pool", module="MaxPool2d", window=True),
    "LpPool": Operator(kind="lp_pool", window=True),
    "ReduceMean": Operator(kind="mean", name=_mean_name),
    "Clip": Operator(kind="clamp", name=_clip_name),
    "Resize": Operator(kind="upsample_nearest", name=_resize_name),
    "Upsample": Operator(kind="upsample_nearest", name=_resize_name),
}
"""What we know of ONNX's own operators, by name; those of other domains are not known."""
