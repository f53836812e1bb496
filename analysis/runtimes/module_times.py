"""How long each module of a network takes in eager PyTorch."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, fx, nn

from networks.deploy.capturing import ADDRESS

_NUM_PASSES = 11


@singledispatch
def module_times_ms(module: nn.Module, images: Tensor) -> Mapping[str, float]:
    """Returns the median time of each module, without that of the modules in it, by address."""
    clock = _Clock()
    with clock.following(module), torch.inference_mode():
        return _medians(clock, lambda: module(images))


@module_times_ms.register
def _graph_times_ms(module: fx.GraphModule, images: Tensor) -> Mapping[str, float]:
    """A graph has no modules, but its nodes know their addresses.

    Only operators are timed: what the interpreter does between them is no part of a pass.
    """
    clock = _Clock(outermost=None)
    with torch.inference_mode():
        return _medians(clock, lambda: _Interpreter(module, clock).run(images))


class _Clock:
    """Adds up where time goes: each moment belongs to the address that was entered last.

    Args:
        outermost: Where it begins; time at None is left out.
    """

    def __init__(self, outermost: str | None = "") -> None:
        self._stack = [outermost]
        self._since = time.perf_counter()
        self._times_s: defaultdict[str, float] = defaultdict(float)

    def restart(self) -> None:
        """Forgets everything."""
        self._times_s.clear()
        self._since = time.perf_counter()

    def enter(self, address: str) -> None:
        """Goes into an address."""
        self._note()
        self._stack.append(address)

    def leave(self) -> None:
        """Goes back to where it came from."""
        self._note()
        self._stack.pop()

    def times_ms(self) -> dict[str, float]:
        """Returns the milliseconds of each address."""
        self._note()
        return {address: time_s * 1e3 for address, time_s in self._times_s.items()}

    @contextmanager
    def following(self, module: nn.Module) -> Iterator[None]:
        """Enters and leaves with the modules."""
        handles: list[Any] = []
        for name, each in module.named_modules():
            handles.append(each.register_forward_pre_hook(lambda *_, name=name: self.enter(name)))
            handles.append(each.register_forward_hook(lambda *_: self.leave()))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _note(self) -> None:
        now = time.perf_counter()
        address = self._stack[-1]
        if address is not None:
            self._times_s[address] += now - self._since
        self._since = now


class _Interpreter(fx.Interpreter):
    """Runs a graph node by node."""

    def __init__(self, module: fx.GraphModule, clock: _Clock) -> None:
        super().__init__(module)
        self._clock = clock
        self._address = ""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - as fx has it
        """Runs one operator under its node's address."""
        self._clock.enter(self._address)
        try:
            return super().call_function(target, args, kwargs)
        finally:
            self._clock.leave()

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - whatever a node makes
        """Notes the address of a node and runs it."""
        self._address = n.meta.get(ADDRESS, "")
        return super().run_node(n)


def _medians(clock: _Clock, run: Callable[[], object]) -> Mapping[str, float]:
    passes: defaultdict[str, list[float]] = defaultdict(list)
    run()
    for _ in range(_NUM_PASSES):
        clock.restart()
        run()
        for address, time_ms in clock.times_ms().items():
            passes[address].append(time_ms)
    return {address: statistics.median(times_ms) for address, times_ms in passes.items()}
