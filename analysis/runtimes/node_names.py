"""Which node of an ONNX file a runtime speaks of, once it has fused and renamed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_BOUNDARY = re.compile(r"[._/:]")
_FUSED = "fused "


class NodeNames:
    """The nodes of a file, by their own names and by those of what they put out.

    Names are paths below ``/``, which is left out: ``stem.conv.0.conv/Conv``. Runtimes name what
    they execute after one of the nodes or tensors that they merged, with something added:
    ``relu_nchwc``, ``/stem.conv/Conv_acdb_abcd_/stem.pool/Pool``.

    Args:
        model: The file (``onnx.ModelProto``).
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - onnx comes with an extra
        self._names: dict[str, str] = {}
        for node in model.graph.node:
            for name in (*node.output, node.name):
                self._names[name] = node.name.removeprefix("/")

    def node(self, executed: str) -> str:
        """Returns the node that an executed operator's name begins with, "" for none."""
        known = longest_beginning(executed.removeprefix(_FUSED), self._names)
        return self._names.get(known, "")

    def add_up(self, times_ms: Iterable[tuple[str, float]]) -> Mapping[str, float]:
        """Returns the times of executed operators by the name of their nodes."""
        sums: dict[str, float] = {}
        for executed, time_ms in times_ms:
            node = self.node(executed)
            sums[node] = sums.get(node, 0.0) + time_ms
        return sums


def longest_beginning(name: str, known: Mapping[str, object] | set[str]) -> str:
    """Returns the longest known name that a name begins with, up to a boundary; "" for none.

    >>> longest_beginning("stages.0.conv_acdb", {"stages", "stages.0.conv", "stages.0.co"})
    'stages.0.conv'
    """
    ends = [len(name), *(match.start() for match in reversed(list(_BOUNDARY.finditer(name))))]
    return next((name[:end] for end in ends if name[:end] in known), "")
