"""Follows which module is executing, by hooks that leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class ModulePath:
    """The way from a module down to the one that is executing.

    Attributes:
        innermost_left: Address of the innermost module that an exception left; "" is the
            outermost, and what it is before anything failed.
    """

    def __init__(self, module: nn.Module) -> None:
        self.innermost_left = ""
        self._module = module
        self._stack: list[tuple[str, nn.Module]] = []
        self._is_failing = False

    @property
    def innermost(self) -> tuple[str, nn.Module]:
        """Address and module of what is executing."""
        return self._stack[-1] if self._stack else ("", self._module)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Keeps track of which module is executing."""
        handles = []
        for name, module in self._module.named_modules():
            handles.append(module.register_forward_pre_hook(self._enter(name)))
            handles.append(module.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> Callable[[nn.Module, Any], None]:
        def push(module: nn.Module, _: Any) -> None:  # noqa: ANN401 - whatever the module takes
            self._stack.append((name, module))
            self._is_failing = False

        return push

    def _leave(self, module: nn.Module, inputs: Any, result: Any) -> None:  # noqa: ANN401
        del module, inputs
        name, _ = self._stack.pop()
        # A module that raises is left without a result, the innermost one first.
        if result is None and not self._is_failing:
            self._is_failing = True
            self.innermost_left = name
