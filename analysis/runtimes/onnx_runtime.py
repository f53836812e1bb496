"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from analysis.calibration_profiles import EVENT, OnnxObserver
from analysis.runtimes.node_names import NodeNames
from analysis.runtimes.onnx_model import OnnxModelRuntime
from analysis.runtimes.runtime import Conditions, Prepared, missing_package
from blocks import Problem

_NUM_TURNS = 3
_ERRORS_ONLY = 3


class OnnxRuntime(OnnxModelRuntime):
    """ONNX Runtime's CPU provider with all optimisations of the graph."""

    @property
    def name(self) -> str:
        """``onnxruntime``."""
        return "onnxruntime"

    @property
    def package(self) -> str:
        """ONNX Runtime."""
        return "onnxruntime"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """float32: in others its CPU provider lacks operators, and casts around each."""
        return ("float32",)

    @property
    def is_blocked(self) -> bool:
        """On a CPU it does, wherever it can."""
        return True

    def missing(self) -> Problem | None:
        """Says what to install."""
        for package in ("onnx", "onnxruntime"):
            if find_spec(package) is None:
                return missing_package(self.name, package, "export")
        return None

    def prepare_model(self, model: Any, conditions: Conditions) -> Prepared:  # noqa: ANN401 - onnx is an extra
        """Opens a session."""
        from onnxruntime.capi import onnxruntime_pybind11_state as raised

        try:
            return _OnnxPrepared(model, conditions)
        except (
            raised.Fail,
            raised.InvalidArgument,
            raised.InvalidGraph,
            raised.NotImplemented,
            raised.RuntimeException,
        ) as error:
            raise self.cannot_run(error) from error


class _OnnxPrepared(Prepared):
    def __init__(self, model: Any, conditions: Conditions) -> None:  # noqa: ANN401 - onnx is an extra
        import onnxruntime

        self._file = model.SerializeToString()
        self._names = NodeNames(model)
        self._threads = conditions.threads
        self._session = onnxruntime.InferenceSession(
            self._file, self._options(), providers=["CPUExecutionProvider"]
        )
        self._feed = {self._session.get_inputs()[0].name: conditions.images().numpy()}
        self._profile: tuple[int, Mapping[str, float]] | None = None

    def run(self) -> object:
        """Makes one pass."""
        return self._session.run(None, self._feed)

    def outputs(self) -> tuple[Tensor, ...]:
        """Makes one pass."""
        return tuple(torch.from_numpy(out.copy()) for out in self._session.run(None, self._feed))

    def num_kernels(self) -> int | None:
        """Counts the kernels of one pass."""
        return self._profiled()[0]

    def layer_times_ms(self) -> Mapping[str, float] | None:
        """Adds up the kernels of each node; what changes layouts in between stands under ""."""
        return self._profiled()[1]

    def observer(self) -> OnnxObserver:
        """Returns another session that is profiled."""
        return OnnxObserver(self._file, self._options(), self._feed)

    def _options(self) -> Any:  # noqa: ANN401
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _ERRORS_ONLY
        # Idle threads spin for a while, which would slow down whatever takes the next turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _profiled(self) -> tuple[int, Mapping[str, float]]:
        """Returns the kernels of one pass and the time of each node, from a second session."""
        if self._profile is None:
            self._profile = self._measure_profile()
        return self._profile

    def _measure_profile(self) -> tuple[int, Mapping[str, float]]:
        observer = self.observer()
        for _ in range(_NUM_TURNS):
            observer.observe()
        events = observer.events()
        return len(events), self._names.add_up(
            (event["name"].removesuffix(EVENT), time_ms) for event, time_ms in events
        )
