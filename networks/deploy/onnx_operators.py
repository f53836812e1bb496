"""All operators that can be written as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from networks.deploy import onnx_moving, onnx_pointwise, onnx_sums, onnx_windows
from networks.deploy.onnx_calls import Converter

CONVERTERS: Mapping[Any, Converter] = {
    **onnx_pointwise.CONVERTERS,
    **onnx_windows.CONVERTERS,
    **onnx_sums.CONVERTERS,
    **onnx_moving.CONVERTERS,
}
"""By operator of a captured graph, what writes it."""
