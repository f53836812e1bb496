"""Compares what ONNX Runtime makes of a model with what the network itself puts out."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from blocks import ImageSize
from networks.deploy.onnx_names import INPUT_NAME

MOST_OFF = 1e-3
"""How far any output may be off, as a share of the largest."""
MOST_OFF_ON_AVERAGE = 1e-4
"""How far outputs may be off in root mean square, as a share of the outputs' own."""

_PACKAGE = "onnxruntime"


@dataclass(frozen=True, kw_only=True)
class OutputCheck:
    """How far a model's outputs are from the network's, for one random image.

    Attributes:
        runtime: What ran the model, with its version.
        max_abs_diff: The largest difference.
        max_share: The same as a share of the largest output.
        rms_share: The differences' root mean square as a share of that of the outputs.
    """

    runtime: str
    max_abs_diff: float
    max_share: float
    rms_share: float

    @property
    def is_close(self) -> bool:
        """Whether the outputs are the network's, but for rounding."""
        return self.max_share <= MOST_OFF and self.rms_share <= MOST_OFF_ON_AVERAGE


def check_outputs(
    path: Path, module: nn.Module, size: ImageSize, *, batch: int = 1, seed: int = 0
) -> OutputCheck | None:
    """Runs a file in ONNX Runtime, and compares.

    Args:
        path: An ONNX file that ``to_onnx`` made.
        module: The network in float32 and eval mode, on the CPU.
        size: The image size of the file.
        batch: The batch of the file.
        seed: Seed of the image.

    Returns:
        How far the outputs are off; None where ONNX Runtime is not installed.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        return None
    import onnxruntime

    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, size.height, size.width, generator=generator)
    with torch.no_grad():
        expected = module(image)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    made = session.run(None, {INPUT_NAME: image.numpy()})
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    pairs = [
        (torch.from_numpy(got).double(), want.double())
        for got, want in zip(made, expected, strict=True)
    ]
    return OutputCheck(
        runtime=f"{_PACKAGE} {version(_PACKAGE)}",
        max_abs_diff=max(float((got - want).abs().max()) for got, want in pairs),
        max_share=max(_share((got - want).abs().max(), want.abs().max()) for got, want in pairs),
        rms_share=max(_share(_rms(got - want), _rms(want)) for got, want in pairs),
    )


def _share(part: Tensor, whole: Tensor) -> float:
    """Returns a share; of nothing it is 0 or infinite, and what is not a number is infinite."""
    if not part.isfinite():
        return float("inf")
    if whole == 0:
        return 0.0 if part == 0 else float("inf")
    return float(part / whole)


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()
