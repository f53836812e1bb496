"""What executes networks, one file a runtime."""

from analysis.runtimes.compiled import CompiledRuntime
from analysis.runtimes.cuda import CudaCompiledRuntime, CudaEagerRuntime, CudaGraphRuntime
from analysis.runtimes.eager import EagerRuntime
from analysis.runtimes.onnx_model import OnnxModelRuntime
from analysis.runtimes.onnx_runtime import OnnxRuntime
from analysis.runtimes.open_vino import OpenVinoRuntime
from analysis.runtimes.runtime import (
    DTYPES,
    Conditions,
    Observer,
    Prepared,
    Runtime,
    UnusableRuntimeError,
)

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        EagerRuntime(),
        CompiledRuntime(),
        OnnxRuntime(),
        OpenVinoRuntime(),
        CudaEagerRuntime(),
        CudaCompiledRuntime(),
        CudaGraphRuntime(),
    )
}
"""All runtimes by name, whether or not they can measure here."""

__all__ = [
    "DTYPES",
    "RUNTIMES",
    "Conditions",
    "Observer",
    "OnnxModelRuntime",
    "Prepared",
    "Runtime",
    "UnusableRuntimeError",
]
