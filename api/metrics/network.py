"""The network: calls by state, key figures, trunks, single SIP nodes.

Labels are bounded: the busiest trunks by name and the others together
(:mod:`livestate.state.kpi.trunks`), and the nodes seen last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import nlargest
from typing import Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from livestate.contract.states import LIVE_STATES
from livestate.state.active_calls import ActiveCalls
from livestate.state.kpi.kpis import Kpis
from livestate.state.kpi.trunks import CLASSES
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.health import HealthState
from livestate.state.nodes.node import Node
from livestate.state.nodes.registry import Nodes

MOST_NODES: Final = 200  # those seen last

_SHARES: Final = (
    ("asr", "Answered of all attempts"),
    ("ner", "Attempts that the network delivered"),
)
_QUANTILES: Final = (("pdd_p50_ms", "0.5"), ("pdd_p95_ms", "0.95"))


def key_figures(kpis: Kpis, now: int) -> Iterator[Metric]:
    """Those of all calls, as the page shows them. What was not measured has no sample."""
    figures = kpis.figures(None)
    states = GaugeMetricFamily("livestate_calls", "Live calls by state.", labels=["state"])
    for state in sorted(LIVE_STATES):
        states.add_metric([state], figures[state])
    yield states
    for name, doc in _SHARES:
        share = GaugeMetricFamily(
            f"livestate_kpi_{name}_ratio", f"{doc}, of the last 15 minutes (ITU-T E.425)."
        )
        if figures[name] is not None:
            share.add_metric([], figures[name] / 100)
        yield share
    talk = GaugeMetricFamily("livestate_kpi_acd_seconds", "Mean conversation of completed calls.")
    if figures["acd_seconds"] is not None:
        talk.add_metric([], figures["acd_seconds"])
    yield talk
    delay = GaugeMetricFamily(
        "livestate_kpi_pdd_seconds", "Post-dial delay of the last 15 minutes.", labels=["quantile"]
    )
    for name, quantile in _QUANTILES:
        if figures[name] is not None:
            delay.add_metric([quantile], figures[name] / 1000)
    yield delay
    yield GaugeMetricFamily("livestate_kpi_cps", "New calls a second.", figures["cps"])
    yield GaugeMetricFamily(
        "livestate_kpi_offered_calls",
        "Attempts of the last 15 minutes that are over.",
        figures["offered"],
    )
    yield from _trunks(kpis, now)


def _trunks(kpis: Kpis, now: int) -> Iterator[Metric]:
    kpis.trunks.rank(now)
    live = GaugeMetricFamily("livestate_trunk_live_calls", "Live calls on it.", labels=["trunk"])
    seizures = CounterMetricFamily("livestate_trunk_seizures", "Attempts on it.", labels=["trunk"])
    answers = CounterMetricFamily(
        "livestate_trunk_answers", "Attempts on it that were answered.", labels=["trunk"]
    )
    failures = CounterMetricFamily(
        "livestate_trunk_failures",
        "Attempts on it that failed, by the class of the response.",
        labels=["trunk", "class"],
    )
    for trunk, calls in kpis.live_by_trunk().items():
        live.add_metric([trunk], calls)
    for trunk, totals in kpis.trunks.totals():
        seizures.add_metric([trunk], totals.seizures)
        answers.add_metric([trunk], totals.answers)
        for name in CLASSES:
            failures.add_metric([trunk, name], totals.failures[name])
    yield from (live, seizures, answers, failures)


def sip_nodes(nodes: Nodes, clocks: NodeClocks, table: ActiveCalls, now: int) -> Iterator[Metric]:
    """One sample a node and metric."""
    known = nlargest(MOST_NODES, nodes.by_name.values(), key=lambda node: node.last_seen_at)
    stale = {node.name for node in nodes.stale(now)}
    offsets = clocks.off
    samples: tuple[tuple[str, str, Callable[[Node], float]], ...] = (
        ("up", "1 while its heartbeats come.", lambda node: node.name not in stale),
        (
            "last_seen_seconds",
            "How long ago it was heard.",
            lambda node: (now - node.last_seen_at) / 1000,
        ),
        (
            "unconfirmed",
            "1 while its calls are marked unconfirmed.",
            lambda node: bool(node.health.unconfirmed),
        ),
        ("live_calls", "Live calls of it.", lambda node: table.nodes.count(node.name)),
        (
            "clock_offset_seconds",
            "How far its clock is ahead of ours; 0 below 5 s.",
            lambda node: offsets.get(node.name, 0) / 1000,
        ),
    )
    for name, doc, value in samples:
        family = GaugeMetricFamily(f"livestate_sip_node_{name}", doc, labels=["node"])
        for node in known:
            family.add_metric([node.name], float(value(node)))
        yield family
    health = GaugeMetricFamily(
        "livestate_sip_node_health",
        "1 for the state that it is in (docs/node-health.md).",
        labels=["node", "state"],
    )
    for node in known:
        for state in get_args(HealthState):
            health.add_metric([node.name, state], float(node.health.state == state))
    yield health
    gaps = CounterMetricFamily(
        "livestate_sip_node_gaps", "Losses seen in its numbers.", labels=["node"]
    )
    for node in known:
        gaps.add_metric([node.name], node.gaps)
    yield gaps
