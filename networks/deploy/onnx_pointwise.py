"""ONNX for operators that compute each number from the numbers at its place."""

from __future__ import annotations

from functools import partial
from typing import Any

from networks.deploy.building import aten
from networks.deploy.onnx_calls import Attributes, Call, Converter, Value


def _of_one(operator: str, call: Call) -> Value:
    return call.add(operator, [call.value("self")])


def _of_two(operator: str, call: Call) -> Value:
    return call.add(operator, [call.value("self"), call.value("other")])


def _with_alpha(operator: str, call: Call) -> Value:
    other = call.value("other")
    if call["alpha"] != 1:
        other = call.add("Mul", [other, call.value("alpha")])
    return call.add(operator, [call.value("self"), other])


def _reversed_sub(call: Call) -> Value:
    if call["alpha"] != 1:
        scaled = call.add("Mul", [call.value("self"), call.value("alpha")])
        return call.add("Sub", [call.value("other"), scaled])
    return call.add("Sub", [call.value("other"), call.value("self")])


def _power(call: Call) -> Value:
    return call.add("Pow", [call.value("self"), call.value("exponent")])


def _rsqrt(call: Call) -> Value:
    return call.add("Reciprocal", [call.add("Sqrt", [call.value("self")])])


def _silu(call: Call) -> Value:
    return call.add("Mul", [call.value("self"), call.add("Sigmoid", [call.value("self")])])


def _clip(lowest: str, highest: str, call: Call) -> Value:
    return call.add("Clip", [call.value("self"), call.value(lowest), call.value(highest)])


def _gelu(call: Call) -> Value:
    return call.add("Gelu", [call.value("self")], {"approximate": call["approximate"]})


def _hardsigmoid(call: Call) -> Value:
    attributes: Attributes = {"alpha": 1 / 6, "beta": 0.5}
    return call.add("HardSigmoid", [call.value("self")], attributes)


def _leaky_relu(call: Call) -> Value:
    return call.add("LeakyRelu", [call.value("self")], {"alpha": float(call["negative_slope"])})


def _elu(call: Call) -> Value:
    if (call["scale"], call["input_scale"]) != (1, 1):
        raise call.refuse(
            "an ELU is exported without scales of its own",
            f"scale {call['scale']}, input scale {call['input_scale']}",
            "use an ELU, and multiply before and after it",
        )
    return call.add("Elu", [call.value("self")], {"alpha": float(call["alpha"])})


def _prelu(call: Call) -> Value:
    return call.add("PRelu", [call.value("self"), call.value("weight")])


def _softplus(call: Call) -> Value:
    if call["beta"] == 1:
        return call.add("Softplus", [call.value("self")])
    scaled = call.add("Mul", [call.value("self"), call.value("beta")])
    return call.add("Div", [call.add("Softplus", [scaled]), call.value("beta")])


_SAME_NAME = (
    "abs ceil cos erf exp floor log neg reciprocal relu round sigmoid sign sin sqrt tanh mish"
)

CONVERTERS: dict[Any, Converter] = {
    **{
        getattr(aten, name).default: partial(_of_one, name.capitalize())
        for name in _SAME_NAME.split()
    },
    **{
        overload: partial(_of_two, operator)
        for packet, operator in ((aten.mul, "Mul"), (aten.div, "Div"))
        for overload in (packet.Tensor, packet.Scalar)
    },
    aten.maximum.default: partial(_of_two, "Max"),
    aten.minimum.default: partial(_of_two, "Min"),
    **{
        overload: partial(_with_alpha, operator)
        for packet, operator in ((aten.add, "Add"), (aten.sub, "Sub"))
        for overload in (packet.Tensor, packet.Scalar)
    },
    aten.rsub.Tensor: _reversed_sub,
    aten.rsub.Scalar: _reversed_sub,
    aten.pow.Tensor_Scalar: _power,
    aten.pow.Tensor_Tensor: _power,
    aten.rsqrt.default: _rsqrt,
    aten.silu.default: _silu,
    aten.hardtanh.default: partial(_clip, "min_val", "max_val"),
    aten.clamp.default: partial(_clip, "min", "max"),
    aten.gelu.default: _gelu,
    aten.hardsigmoid.default: _hardsigmoid,
    aten.hardswish.default: partial(_of_one, "HardSwish"),
    aten.leaky_relu.default: _leaky_relu,
    aten.elu.default: _elu,
    aten.prelu.default: _prelu,
    aten._prelu_kernel.default: _prelu,  # noqa: SLF001 - the operator's name
    aten.softplus.default: _softplus,
}
"""By operator, how it is written."""
