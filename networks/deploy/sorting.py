"""Puts a graph's nodes in an order in which each stands behind what it reads."""

from __future__ import annotations

from torch import fx


def sort_nodes(graph: fx.Graph) -> None:
    """Sorts a graph in place: nodes stay where they are unless they read one that comes later."""
    written: set[fx.Node] = set()
    order: list[fx.Node] = []
    for root in graph.nodes:
        waiting = [root]
        while waiting:
            node = waiting[-1]
            missing = [each for each in node.all_input_nodes if each not in written]
            if node in written or not missing:
                waiting.pop()
                if node not in written:
                    written.add(node)
                    order.append(node)
            else:
                waiting += missing
    last = order[0]
    for node in order[1:]:
        last.append(node)
        last = node
