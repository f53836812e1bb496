"""OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from analysis.calibration_profiles import OpenVinoObserver
from analysis.runtimes.node_names import NodeNames
from analysis.runtimes.onnx_model import OnnxModelRuntime
from analysis.runtimes.runtime import (
    Conditions,
    Prepared,
    UnusableRuntimeError,
    missing_package,
)
from blocks import Problem

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_NUM_TURNS = 3


class OpenVinoRuntime(OnnxModelRuntime):
    """OpenVINO's CPU plugin, one stream, tuned for latency.

    Left to itself it computes in bfloat16 where the processor can; here the number format is set,
    and read back.
    """

    @property
    def name(self) -> str:
        """``openvino``."""
        return "openvino"

    @property
    def package(self) -> str:
        """OpenVINO."""
        return "openvino"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """All that the plugin knows; some processors lack some."""
        return tuple(_PRECISIONS)

    def missing(self) -> Problem | None:
        """Says what to install."""
        for package in ("onnx", "openvino"):
            if find_spec(package) is None:
                return missing_package(self.name, package, "openvino")
        return None

    def prepare_model(self, model: Any, conditions: Conditions) -> Prepared:  # noqa: ANN401 - onnx is an extra
        """Compiles the network."""
        try:
            prepared = _OpenVinoPrepared(model, conditions)
        except RuntimeError as error:
            raise self.cannot_run(error) from error
        computes_in = prepared.precision()
        if computes_in != _PRECISIONS[conditions.dtype]:
            raise UnusableRuntimeError(
                Problem(
                    where=self.name,
                    rule="a number format is one that the runtime computes in on this processor",
                    got=f"{computes_in} where {conditions.dtype} was asked for",
                    do="measure another --dtype",
                )
            )
        return prepared


class _OpenVinoPrepared(Prepared):
    def __init__(self, model: Any, conditions: Conditions) -> None:  # noqa: ANN401 - onnx is an extra
        self._file = model.SerializeToString()
        self._names = NodeNames(model)
        self._conditions = conditions
        self._images = conditions.images().numpy()
        self._compiled = self._compile(profiled=False)
        self._request = self._ready(self._compiled)
        self._profile: tuple[int, Mapping[str, float]] | None = None

    def precision(self) -> str:
        """Returns the number format that it computes in: ``f32``, ``bf16`` or ``f16``."""
        kind = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        return str(kind.get_type_name())

    def run(self) -> object:
        """Makes one pass."""
        return self._request.infer(share_outputs=True)

    def outputs(self) -> tuple[Tensor, ...]:
        """Makes one pass."""
        self._request.infer()
        count = len(self._compiled.outputs)
        found = (self._request.get_output_tensor(index).data for index in range(count))
        return tuple(torch.from_numpy(out.copy()).float() for out in found)

    def num_kernels(self) -> int | None:
        """Counts the primitives that a pass executes; what was fused or is a view is not run."""
        return self._profiled()[0]

    def layer_times_ms(self) -> Mapping[str, float] | None:
        """Adds up the primitives of each node."""
        return self._profiled()[1]

    def observer(self) -> OpenVinoObserver:
        """Returns another model that is profiled."""
        compiled = self._compile(profiled=True)
        return OpenVinoObserver(compiled, self._ready(compiled))

    def _compile(self, *, profiled: bool) -> Any:  # noqa: ANN401 - an extra
        import openvino

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self._conditions.dtype],
            "INFERENCE_NUM_THREADS": self._conditions.threads,
            "NUM_STREAMS": 1,
            "PERF_COUNT": profiled,
        }
        return core.compile_model(core.read_model(self._file, b""), "CPU", settings)

    def _ready(self, compiled: Any) -> Any:  # noqa: ANN401
        import openvino

        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(self._images, shared_memory=True))
        return request

    def _profiled(self) -> tuple[int, Mapping[str, float]]:
        """Returns the primitives of one pass and the time of each node, from a second model."""
        if self._profile is None:
            self._profile = self._measure_profile()
        return self._profile

    def _measure_profile(self) -> tuple[int, Mapping[str, float]]:
        observer = self.observer()
        for _ in range(_NUM_TURNS):
            observer.observe()
        origins = _origins(observer.compiled, self._names)
        return len(observer.fastest_ms), self._names.add_up(
            (origins.get(name, name), time_ms) for name, time_ms in observer.fastest_ms.items()
        )


def _origins(compiled: Any, names: NodeNames) -> dict[str, str]:  # noqa: ANN401 - an extra
    """Returns the nodes of the file that primitives come from, by the primitives' names.

    A primitive that merges several nodes lists them. One that lists none which the file has (a
    change of layout, a convolution that took in what follows) counts to what it reads from.
    """
    found: dict[str, str] = {}
    for primitive in compiled.get_runtime_model().get_ordered_ops():
        merged = primitive.get_rt_info()["originalLayersNames"].astype(str).split(",")
        sources = (value.get_node().get_friendly_name() for value in primitive.input_values())
        candidates = (*(name for name in merged if names.node(name)), *map(found.get, sources))
        name = next((each for each in candidates if each), None)
        if name:
            found[primitive.get_friendly_name()] = name
    return found
