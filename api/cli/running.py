"""Asks a running instance on ``LIVESTATE_ADMIN_BIND`` for its status, for ``livestate doctor``."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any, Final

from api.cli.finding import Finding
from api.settings import Settings
from livestate.contract.subjects import paired

SECONDS: Final = 2.0  # timeout of the request
ENGINE_SILENT_MS: Final = 2_000
LAGS_MS: Final = 2_000
_MOST_BYTES: Final = 4 * 1024 * 1024
_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}  # noqa: S104  # is compared


async def running(settings: Settings) -> list[Finding]:
    """Findings about CDRs and DMQ pairs; without an answer, from the settings alone."""
    status = await asyncio.to_thread(_asked, settings.admin_bind)
    if status is None:
        return list(_configured(settings.pairs))
    where = f"livestate at {settings.admin_bind}"
    try:
        if status.get("role") == "edge":
            return [*_edge(where, status), *_tasks(where, status)]
        single = status.get("role") != "engine"
        role = _single(where, status) if single else _engine(where, status["edges"])
        pairs = _pairs(where, settings.pairs, status)
        return [*role, *_cdrs(where, status["cdrs"]), *pairs, *_tasks(where, status)]
    except (KeyError, TypeError, AttributeError):  # another version, or another program
        return list(_configured(settings.pairs))


def _asked(bind: str) -> dict[str, Any] | None:
    """``/statusz`` of the instance; None if it does not answer with one."""
    host, _, port = bind.rpartition(":")
    connection = http.client.HTTPConnection(
        _ANY.get(host, host.strip("[]")), int(port), timeout=SECONDS
    )
    try:
        connection.request("GET", "/statusz")
        status = json.loads(connection.getresponse().read(_MOST_BYTES))
    except (OSError, ValueError, http.client.HTTPException, RecursionError):
        return None
    finally:
        connection.close()
    return status if isinstance(status, dict) else None


def _tasks(where: str, status: dict[str, Any]) -> Iterator[Finding]:
    """Tasks that ended by an error they did not expect, and began again."""
    for name, times in status.get("task_failures", {}).items():
        yield Finding(
            "odd",
            f"{where}: the task {name!r} failed and was started again, {times} times in all",
            "report it with the lines `a task failed` of the log",
        )


def _edge(where: str, status: dict[str, Any]) -> Iterator[Finding]:
    """Whether an edge hears an engine, and its views agree with that."""
    engine = status["engine"]
    if engine is None or engine["silent_ms"] > ENGINE_SILENT_MS:
        yield Finding(
            "odd",
            f"{where}: an edge that hears no engine",
            "start one with LIVESTATE_ROLE=engine; the NATS user of this edge needs the rights of "
            "`edge` in deploy/nats.conf",
        )
    else:
        yield Finding(
            "good",
            f"{where}: an edge that follows {len(status['views'])} views, "
            f"{status['lag']['ms']} ms behind its engine",
        )
    yield from _lag(f"{where}: this edge", status["lag"]["versions"], status["lag"]["ms"])
    if status["dropped"]:
        yield Finding(
            "odd",
            f"{where}: {status['dropped']} messages were dropped: this edge reads too slowly",
            "it asks for the state again, and clients get a diff; if it goes on, give the edge a "
            "core of its own or its clients to more edges",
        )
    diverged = sum(view["diverged"] for view in status["views"].values())
    if diverged:
        yield Finding(
            "odd",
            f"{where}: {diverged} times a view had another digest than the engine's, and was "
            "built anew",
            "report it with the log of both",
        )


def _engine(where: str, engine: dict[str, Any]) -> Iterator[Finding]:
    """Whether an engine publishes, is heard by edges, and which of them lag."""
    if not engine["publishes"]:
        yield Finding(
            "good", f"{where}: an engine that stands by: another one holds the lease in Redis"
        )
        return
    edges = engine["edges"]
    if not edges:
        yield Finding(
            "odd",
            f"{where}: an engine that no edge has asked for anything in the last 10 s",
            "an engine serves no client: start edges with LIVESTATE_ROLE=edge; the NATS user of "
            "this engine needs the rights of `livestate` in deploy/nats.conf",
        )
    else:
        yield Finding(
            "good",
            f"{where}: an engine that publishes {engine['views']} views to {len(edges)} edges",
        )
    for name, edge in edges.items():
        yield from _lag(f"{where}: the edge {name}", edge["lag_versions"], edge["lag_ms"])
    if engine["dropped"]:
        yield Finding(
            "odd",
            f"{where}: {engine['dropped']} messages to edges were dropped: NATS was away, or took "
            "them too slowly",
            "edges ask for the state again; if it goes on, look at the load of nats-server",
        )


def _single(where: str, status: dict[str, Any]) -> Iterator[Finding]:
    """Whether a single process leads, follows the one that leads, or can do neither."""
    served, feed = status.get("served"), status.get("edges")
    if not served or not feed:  # of a version before this
        return
    rights = "let its NATS user publish and subscribe as `livestate` does in deploy/nats.conf"
    if feed["publishes"]:
        if right := feed["nats"]["missing_right"]:
            yield Finding(
                "odd",
                f"{where}: a single process that leads, and may not publish to others: {right}",
                f"nothing, if it is the only one; else {rights}",
            )
    elif served["serves"] == "leader":
        yield Finding(
            "good",
            f"{where}: a single process beside one that leads; its clients are served from what "
            f"that one publishes, {served['lag_ms']} ms behind",
        )
    elif served["serves"] == "own":
        yield Finding(
            "odd",
            f"{where}: a single process beside one that leads, which it cannot follow: "
            f"{served['trouble']}. Clients that move between them take a snapshot",
            f"{rights}, and run the same version everywhere",
        )


def _lag(who: str, versions: int, ms: int) -> Iterator[Finding]:
    if ms > LAGS_MS:
        yield Finding(
            "odd",
            f"{who} is {ms} ms and {versions} versions behind the engine",
            "it has too little CPU, or its way to NATS is too narrow: see docs/scale.md",
        )


def _cdrs(where: str, cdrs: dict[str, Any]) -> Iterator[Finding]:
    if cdrs["trouble"]:
        yield Finding(
            "odd",
            f"{where}: CDRs cannot be read: {cdrs['trouble']}",
            "see the rows of the stream CDR",
        )
    if cdrs["dead_trouble"]:
        yield Finding(
            "odd",
            f"{where}: unreadable CDRs cannot be stored: {cdrs['dead_trouble']}; "
            f"{cdrs['dead_waiting']} wait in memory, {cdrs['dead_dropped']} found no "
            "room there",
            "the stream CDR_DEAD, and the right to publish cdr.dead: see deploy/nats.conf",
        )
    if not (cdrs["trouble"] or cdrs["dead_trouble"]):
        yield Finding("good", f"{where}: reads CDRs, {cdrs['waiting']} waiting")


def _configured(pairs: str) -> Iterator[Finding]:
    for group in dict.fromkeys(paired(pairs).values()):
        yield Finding(
            "good",
            f"LIVESTATE_PAIRS: {' and '.join(sorted(group))} may report each "
            "other's calls; start livestate to see whether they do",
        )


def _pairs(where: str, pairs: str, status: dict[str, Any]) -> Iterator[Finding]:
    """Whether nodes that replicate dialogs are configured, heard, and list copies."""
    nodes: dict[str, Any] = status["nodes"]
    for group in dict.fromkeys(paired(pairs).values()):
        names = sorted(group)
        together = f"{where}: LIVESTATE_PAIRS has {' and '.join(names)}"
        missing = [name for name in names if name not in nodes]
        copies = [
            f"{name} lists {nodes[name]['copies']} copies of calls of "
            f"{', '.join(nodes[name]['copies_of'])}"
            for name in names
            if name in nodes and nodes[name]["copies"]
        ]
        if missing:
            yield Finding(
                "odd",
                f"{together}; nothing is received from {', '.join(missing)}",
                "a node is named there as in LIVESTATE_NODE of its livestate.cfg, upper "
                "and lower case count",
            )
        elif copies:
            yield Finding("good", f"{together}; {'; '.join(copies)}")
        elif any(nodes[name]["calls"] for name in names):
            yield Finding(
                "odd",
                f"{together}; there are calls, and no node lists copies of them",
                "enable_dmq of Kamailio's dialog module, on both: see Pairs in "
                "docs/bridge.md. A list comes every 45 s",
            )
        else:
            yield Finding("good", f"{together}; no calls at the moment, so no copies")
    if refused := status["copies_refused"]:
        yield Finding(
            "odd",
            f"{where}: {refused} copies were rejected: their nodes are not "
            "in one group of LIVESTATE_PAIRS",
            "add nodes that replicate dialogs; "
            "otherwise find out why a node reports another's calls",
        )
