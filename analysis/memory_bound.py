"""How little an operation can do with: the least that lives while it runs, over all orders.

When an operation runs, everything before it is done and nothing after it; of the rest, any closed
set may be. The set that leaves least alive is a closure of least cost, which a minimum cut finds
(Picard, "Maximal closure of a graph", 1976): operations cost what they make, and storages pay
their size back once all that touch them are in the set. No order does with less than the highest
of these needs.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.flow import FlowNetwork
from analysis.memory_graph import OrderGraph, members


def least_peak_bytes(graph: OrderGraph, known_order: Sequence[int]) -> int:
    """Returns a number of bytes with less than which no order does.

    Args:
        graph: What may run when.
        known_order: An order that the graph allows; what it holds spares most of the work.
    """
    earlier = _all_before(graph)
    later = _all_after(graph)
    held = graph.live_bytes(known_order)
    bound = graph.held_bytes
    # No operation needs more than it has in the known order.
    for live, operation in sorted(zip(held, known_order, strict=True), reverse=True):
        if live <= bound:
            break
        bound = max(bound, _need_bytes(graph, operation, earlier[operation], later[operation]))
    return bound


def _all_before(graph: OrderGraph) -> list[int]:
    found: list[int] = []
    for direct in graph.before:
        every = direct
        for operation in members(direct):
            every |= found[operation]
        found.append(every)
    return found


def _all_after(graph: OrderGraph) -> list[int]:
    found = [0] * len(graph.after)
    for operation in reversed(range(len(graph.after))):
        for follower in graph.after[operation]:
            found[operation] |= found[follower] | 1 << follower
    return found


def _need_bytes(graph: OrderGraph, operation: int, earlier: int, later: int) -> int:
    """Returns the least that lives while an operation runs."""
    not_yet = later | 1 << operation
    free = ((1 << len(graph.before)) - 1) & ~earlier & ~not_yet
    live = graph.held_bytes + graph.made_bytes[operation]
    refunds = []
    for storage, (users, maker) in enumerate(zip(graph.users, graph.maker, strict=True)):
        size = graph.storage_bytes[storage]
        if maker is None or not size:
            continue
        is_kept = storage in graph.kept
        if earlier >> maker & 1 and (is_kept or users & ~earlier):
            live += size
        if not is_kept and users & free and not users & not_yet:
            refunds.append(storage)
    nodes = {each: index for index, each in enumerate(members(free), start=2)}
    source, sink = 0, 1
    network = FlowNetwork(2 + len(nodes) + len(refunds))
    for each, node in nodes.items():
        network.join(node, sink, graph.made_bytes[each])
        for needed in members(graph.before[each] & free):
            network.join(node, nodes[needed], None)
    for node, storage in enumerate(refunds, start=2 + len(nodes)):
        network.join(source, node, graph.storage_bytes[storage])
        for each in members(graph.users[storage] & free):
            network.join(node, nodes[each], None)
    refunded = sum(graph.storage_bytes[storage] for storage in refunds)
    return live - (refunded - network.push(source, sink))
