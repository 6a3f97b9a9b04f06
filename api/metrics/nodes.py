"""SIP nodes, all together; single nodes are in :mod:`api.metrics.network`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from api.metrics.families import counter, gauge
from livestate.fanout.context import FanoutContext
from livestate.ingest.counters import Counters
from livestate.state.nodes.registry import Nodes


def node_metrics(
    nodes: Nodes, counts: Counters, context: FanoutContext, now: int
) -> Iterator[Metric]:
    """``now``: ms of the monotonic clock."""
    troubled = Counter(one.what for one in context.source.troubles)
    yield counter("livestate_node_lists", "Complete lists of dialogs reconciled.", counts.lists)
    yield counter(
        "livestate_node_lists_failed", "Parts of lists rejected as a whole.", counts.lists_failed
    )
    yield gauge(
        "livestate_nodes_without_list",
        "SIP nodes without any readable list: the page is stale.",
        len(nodes.without_list(now)),
    )
    yield gauge(
        "livestate_unlisted_dialogs",
        "Dialogs that the nodes' last lists left out.",
        sum(node.unlisted for node in nodes.by_name.values()),
    )
    yield gauge("livestate_nodes", "SIP nodes seen since the start.", len(nodes.by_name))
    yield gauge("livestate_nodes_stale", "SIP nodes silent for too long.", len(nodes.stale(now)))
    yield gauge(
        "livestate_nodes_contested",
        "Node names that two SIP nodes use.",
        troubled["contested"],
    )
    yield gauge(
        "livestate_nodes_refused",
        "SIP nodes whose messages are all rejected.",
        troubled["refused"],
    )
    yield gauge(
        "livestate_nodes_clock_off",
        "SIP nodes whose clock is over 5 s off ours.",
        troubled["clock"],
    )
    yield counter(
        "livestate_node_gaps",
        "Gaps in the nodes' sequence numbers that became losses.",
        sum(node.gaps for node in nodes.by_name.values()),
    )
    yield gauge(
        "livestate_nodes_doubted",
        "SIP nodes whose calls are marked unconfirmed.",
        sum(bool(node.health.unconfirmed) for node in nodes.by_name.values()),
    )
    yield gauge(
        "livestate_source_stale",
        "1 while the calls shown may be wrong.",
        context.source.stale_since is not None,
    )
