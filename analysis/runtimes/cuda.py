"""PyTorch on an NVIDIA GPU: eager, compiled, and replayed as one CUDA graph.

A pass ends when the GPU has finished, so times include what the CPU takes to launch the work.
Products are computed in the number format that was asked for: PyTorch's own default for float32
convolutions on a GPU is TF32, which keeps 10 bits of the mantissa.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from analysis.runtimes.compiled import compiled
from analysis.runtimes.eager import num_operator_calls
from analysis.runtimes.pytorch import PyTorchRuntime
from analysis.runtimes.runtime import (
    DTYPES,
    Conditions,
    Prepared,
    UnusableRuntimeError,
    as_outputs,
    pytorch_threads,
)
from blocks import Problem

_NUM_BEFORE_CAPTURE = 3


class CudaRuntime(PyTorchRuntime):
    """What the three have in common."""

    @property
    def uses_cores(self) -> bool:
        """No: they wait for the GPU."""
        return False

    def missing(self) -> Problem | None:
        """Says so where there is no GPU."""
        if torch.cuda.is_available():
            return None
        built = torch.version.cuda is not None
        return Problem(
            where=self.name,
            rule="a runtime of this name needs an NVIDIA GPU that PyTorch can use",
            got="no GPU" if built else "a PyTorch that was built without CUDA",
            do="measure another --runtime here, or install PyTorch for CUDA on a machine with one",
        )

    def prepare(self, module: nn.Module, conditions: Conditions) -> Prepared:
        """Copies the network to the GPU."""
        self.check(conditions)
        dtype = DTYPES[conditions.dtype]
        try:
            copied = copy.deepcopy(module).eval().to("cuda", dtype)
            images = conditions.images().to("cuda", dtype)
            with _as_asked(conditions.threads):
                return self.prepared(copied, images, conditions.threads)
        # What CUDA, Dynamo and Inductor raise, too little memory included.
        except RuntimeError as error:
            raise self.cannot_run(error) from error

    @abstractmethod
    def prepared(self, module: nn.Module, images: Tensor, threads: int) -> Prepared:
        """Returns a module of its own on the GPU, ready to run.

        Args:
            module: The module, in its number format.
            images: The images, likewise.
            threads: Threads that the CPU may use.
        """


class CudaEagerRuntime(CudaRuntime):
    """Operator after operator."""

    @property
    def name(self) -> str:
        """``cuda``."""
        return "cuda"

    def prepared(self, module: nn.Module, images: Tensor, threads: int) -> Prepared:
        """Calls the module."""
        count = num_operator_calls(module, images)
        return _CudaPrepared(lambda: module(images), threads, count)


class CudaCompiledRuntime(CudaRuntime):
    """``torch.compile`` with Inductor."""

    @property
    def name(self) -> str:
        """``cuda_compile``."""
        return "cuda_compile"

    def prepared(self, module: nn.Module, images: Tensor, threads: int) -> Prepared:
        """Compiles the module as one graph."""
        call = compiled(module)
        with torch.inference_mode():
            call(images)
        return _CudaPrepared(lambda: call(images), threads, None)


class CudaGraphRuntime(CudaRuntime):
    """Eager kernels, recorded once and replayed: nothing is launched from Python."""

    @property
    def name(self) -> str:
        """``cuda_graphs``."""
        return "cuda_graphs"

    def prepared(self, module: nn.Module, images: Tensor, threads: int) -> Prepared:
        """Records a pass on a stream of its own."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.inference_mode():
                stream = torch.cuda.Stream()  # type: ignore[no-untyped-call] # PyTorch's
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    for _ in range(_NUM_BEFORE_CAPTURE):
                        module(images)
                torch.cuda.current_stream().wait_stream(stream)
                with torch.cuda.graph(graph):
                    recorded = module(images)
        except RuntimeError as error:
            raise UnusableRuntimeError(
                Problem(
                    where=self.name,
                    rule="a CUDA graph records a network that never waits for the GPU",
                    got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
                    do="measure it with --runtime cuda",
                )
            ) from error

        def replay() -> object:
            graph.replay()
            return recorded

        return _CudaPrepared(replay, threads, num_operator_calls(module, images))


class _CudaPrepared(Prepared):
    def __init__(self, call: Callable[[], object], threads: int, num_kernels: int | None) -> None:
        self._call = call
        self._threads = threads
        self._num_kernels = num_kernels

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Sets threads and number formats."""
        with _as_asked(self._threads):
            yield

    def run(self) -> object:
        """Makes one pass and waits for the GPU."""
        with torch.inference_mode():
            result = self._call()
        torch.cuda.synchronize()
        return result

    def outputs(self) -> tuple[Tensor, ...]:
        """Makes one pass."""
        with self.turn():
            return as_outputs(self.run())

    def num_kernels(self) -> int | None:
        """Operator calls that touch memory, each of which launches a kernel or several."""
        return self._num_kernels

    def layer_times_ms(self) -> Mapping[str, float] | None:
        """None: the GPU runs behind the CPU, so no layer begins when its module is called."""
        return None


@contextmanager
def _as_asked(threads: int) -> Iterator[None]:
    """Lets cuDNN choose the fastest algorithm for the size, and none that rounds to TF32."""
    with (
        pytorch_threads(threads),
        torch.backends.cudnn.flags(
            enabled=True, benchmark=True, deterministic=False, allow_tf32=False
        ),
    ):
        yield
