"""What runtimes have in common that take ONNX models."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import nn

from analysis.runtimes.runtime import Conditions, Prepared, Runtime


class OnnxModelRuntime(Runtime):
    """A runtime that takes networks as ONNX models."""

    @property
    def is_blocked(self) -> bool:
        """Whether it keeps channels in memory in blocks, so that models are written for that."""
        return False

    def prepare(self, module: nn.Module, conditions: Conditions) -> Prepared:
        """Exports a network and prepares the model."""
        self.check(conditions)
        from networks.deploy.onnx_writing import to_onnx

        model = to_onnx(module, conditions.size, batch=conditions.batch, blocked=self.is_blocked)
        return self.prepare_model(model, conditions)

    @abstractmethod
    def prepare_model(self, model: Any, conditions: Conditions) -> Prepared:  # noqa: ANN401 - onnx is an extra
        """Makes an ONNX model ready, whoever exported it.

        Args:
            model: An ``onnx.ModelProto`` of one image input.
            conditions: What it was exported for.

        Raises:
            UnusableRuntimeError: If it cannot run this model so.
        """
