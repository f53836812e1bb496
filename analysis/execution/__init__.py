"""What runtimes execute: expected from a spec, or told by a profiler."""

from analysis.execution.executed import Executed, executed_from_data, executed_from_row
from analysis.execution.expected import expected_kernels, one_by_one
from analysis.execution.kernels import NUM_TERMS, Kernel

__all__ = [
    "NUM_TERMS",
    "Executed",
    "Kernel",
    "executed_from_data",
    "executed_from_row",
    "expected_kernels",
    "one_by_one",
]
