"""The state of a view, and what its frames change, as rows. Pure.

A state is a list of ``[key, version, record, ended]``, one JSON array a line, in ascending
versions: ``record`` is null for a call that left, ``ended`` says how where the view may tell. A
frame of an engine is the diff that its own clients would get, so its rows are read from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from livestate.client.sse import Parser
from livestate.cluster.replica import Row
from livestate.cluster.wire import PART_BYTES, Unreadable
from livestate.fanout.patch import Records, ending
from livestate.state.call import Call


def state_parts(rows: Iterable[tuple[str, Call | None, int]], records: Records) -> Iterator[bytes]:
    """The rows of :meth:`livestate.state.view.View.history` in pieces of about
    :data:`~livestate.cluster.wire.PART_BYTES`; at least one."""
    lines: list[bytes] = []
    size = 0
    empty = True
    for key, call, version in rows:
        if call is None:
            line = b'["%b",%d,null,null]' % (key.encode(), version)
        elif call.live:
            line = b'["%b",%d,%b},null]' % (key.encode(), version, records.get(call))
        else:
            line = b'["%b",%d,null,%b]' % (key.encode(), version, orjson.dumps(ending(call)))
        lines.append(line)
        size += len(line)
        if size >= PART_BYTES:
            yield b"\n".join(lines)
            lines, size, empty = [], 0, False
    if lines or empty:
        yield b"\n".join(lines)


def read_state(body: bytes) -> list[Row]:
    """The rows of one part of a state. Raises :class:`~livestate.cluster.wire.Unreadable`."""
    try:
        return [Row(*orjson.loads(line)) for line in body.split(b"\n") if line]
    except (orjson.JSONDecodeError, TypeError) as error:
        raise Unreadable(f"a row of a state: {error}") from error


def read_diff(frame: bytes, gone: Mapping[str, int]) -> list[Row]:
    """The rows of a frame in ascending versions; ``gone`` has those of the calls that left. Raises
    :class:`~livestate.cluster.wire.Unreadable`."""
    rows: list[Row] = []
    try:
        for event in Parser().feed(frame):
            if event.name != "diff":
                continue
            data = orjson.loads(event.data)
            ended = data.get("ended", {})
            for key, record in data["calls"].items():
                if record is None:
                    rows.append(Row(key, gone[key], None, ended.get(key)))
                else:
                    rows.append(Row(key, record["v"], record, patch="node" not in record))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"a frame: {error!r}") from error
    return rows


def read_figures(frame: bytes) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The data of a heartbeat, and the KPIs that came with it. Raises
    :class:`~livestate.cluster.wire.Unreadable`."""
    found: dict[str, Any] = {}
    try:
        for event in Parser().feed(frame):
            found[event.name] = orjson.loads(event.data)
        return found["heartbeat"], found.get("kpi")
    except (orjson.JSONDecodeError, KeyError) as error:
        raise Unreadable(f"a heartbeat: {error}") from error
