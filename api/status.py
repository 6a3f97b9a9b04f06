"""``/statusz``: the state of one instance, for operators and ``livestate doctor``."""

from __future__ import annotations

import os
from typing import Any, Protocol

from api.auth.oidc_login import OidcLogin
from api.auth.verifier import Verifier
from api.panels.alarm_watch import AlarmWatch
from api.panels.trunk_file import TrunkFile
from api.stream.registry import StreamRegistry
from api.stream.slow_clients import slow_clients
from livestate.cluster.publisher import EdgeFeed
from livestate.cluster.served_hub import ServedHub
from livestate.fanout.hub import Hub
from livestate.ingest.cdr_reader import CdrReader
from livestate.ingest.consumer import Consumer
from livestate.ingest.monitor import FeedMonitor
from livestate.ingest.pipeline import Pipeline
from livestate.process import build, logs
from livestate.process.clock import steady_ms
from livestate.process.loop_probe import LoopProbe
from livestate.process.tasks import failures
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.clock_offset import NodeClocks
from livestate.state.nodes.registry import Nodes
from livestate.state.nodes.trouble import Trouble
from livestate.store.following import Following
from livestate.store.projection import Projection


class Parts(Protocol):
    """The parts of a service that ``/statusz`` looks at; :class:`api.service.Service` has them."""

    table: ActiveCalls
    nodes: Nodes
    clocks: NodeClocks
    pipeline: Pipeline
    consumer: Consumer
    cdrs: CdrReader
    watch: FeedMonitor
    hub: Hub
    projection: Projection
    verifier: Verifier
    probe: LoopProbe
    login: OidcLogin | None
    trunk_file: TrunkFile
    alarms: AlarmWatch
    edges: EdgeFeed
    following: Following
    served: ServedHub | None

    @property
    def streams(self) -> StreamRegistry: ...
    def troubles(self, now: int) -> tuple[Trouble, ...]: ...
    def not_ready(self) -> str | None: ...


def status(live: Parts) -> dict[str, Any]:
    """The JSON of ``/statusz``."""
    now = steady_ms()
    source = (live.served.hub if live.served is not None else live.hub).source
    stale = {node.name for node in live.nodes.stale(now)}
    return {
        "pid": os.getpid(),
        "role": "engine" if live.served is None else "all",
        "served": live.served and live.served.status(),
        "edges": engine_status(live.edges, now),
        "following": live.following.status(),
        "build": build.kind(),
        "ready": live.not_ready() or True,
        "calls": live.table.live,
        "streams": len(live.streams),
        "slow_clients": slow_clients(live.streams),
        "source_stale_since": source.stale_since,
        "source_stale_reason": source.reason if source.stale_since is not None else None,
        "loop_holds": live.probe.status(),
        "loop_lag_seconds": {"last": live.watch.lag_seconds, "worst": live.watch.worst_lag_seconds},
        "nats": {
            **live.consumer.connection.status(),
            "reconnects": live.consumer.reconnects,
            "renewals": live.watch.renewals,
        },
        "log_lines_dropped": logs.dropped(),
        "task_failures": +failures,
        "trunk_file": live.trunk_file.status(),
        "alarm_file": live.alarms.file.status(),
        "cdrs": {
            "trouble": live.cdrs.trouble,
            "dead_trouble": live.cdrs.dead_letters.trouble,
            "dead_waiting": live.cdrs.dead_letters.waiting,
            "dead_dropped": live.cdrs.dead_letters.dropped,
            "nats": live.cdrs.connection.status(),
            "caught_up": live.cdrs.caught_up,
            "waiting": live.cdrs.waiting,
            "position": live.cdrs.position,
        },
        "logins": {
            "keys": len(live.verifier.keys.keys),
            "keys_trouble": live.verifier.keys.trouble,
            "keys_refused": live.verifier.keys.refused,
            "revoked": len(live.verifier.revocations.names),
            "revocations_trouble": live.verifier.revocations.trouble,
            "logged_out": len(live.verifier.logouts),
            "sessions": live.login and live.login.status(),
        },
        "redis": {
            "dirty": live.projection.dirty,
            "standby": live.projection.standby,
            "writer": live.projection.lease.writer,
            "failures": live.projection.stats.failures,
            **live.projection.health.status(),
            "rewrites": live.projection.stats.rewrites,
        },
        "copies_refused": live.pipeline.counters.listed_rejected["forged_node"],
        "troubles": [
            {"node": one.node, "what": one.what, "reason": one.reason, "ahead_ms": one.ahead_ms}
            for one in live.troubles(now)
        ],
        "nodes": {
            node.name: {
                "epoch": node.epoch,
                "seq": node.sequence.highest,
                "silent_ms": now - node.last_seen_at,
                "missing": len(node.sequence.missing),
                "gaps": node.gaps,
                "stale": node.name in stale,
                "waiting_for_list": node.wants_list,
                "dialogs": node.dialogs,
                "list_trouble": node.list_trouble
                and {
                    "reason": node.list_trouble.reason,
                    "times": node.list_trouble.times,
                    "since_ms": now - node.list_trouble.since,
                },
                "unlisted_dialogs": node.unlisted,
                "contested": node.contested_since is not None,
                "rivals": [
                    {
                        "kind": one.kind,
                        "epoch": one.epoch,
                        "seq": one.highest,
                        "silent_ms": now - one.last_seen_at,
                        "listed": one.listed is not None,
                    }
                    for one in node.rivals
                ],
                "clock_ahead_ms": live.clocks.off.get(node.name, 0),
                "health": node.health.state,
                "doubted_ms": node.health.unconfirmed_ms(now),
                "calls": live.table.nodes.count(node.name),
                **live.pipeline.takeover.copies_of(node.name),
            }
            for node in live.nodes.by_name.values()
        },
    }


def engine_status(feed: EdgeFeed, now: int) -> dict[str, Any]:
    """What an engine publishes, and the edges that said how far behind it they are."""
    return {
        "publishes": feed.leadership.leads,
        "fence": feed.leadership.fence,
        "views": len(feed.watched),
        "frames": feed.frames,
        "states": feed.states,
        "unreadable": feed.unreadable,
        "waiting_bytes": feed.outbox.bytes,
        "dropped": feed.outbox.dropped,
        "nats": feed.connection.status(),
        "edges": {
            report.name: {name: value for name, value in report._asdict().items() if name != "name"}
            for report in feed.reports.current(now)
        },
    }
