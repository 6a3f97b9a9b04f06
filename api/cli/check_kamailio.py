"""Checks a Kamailio for ``livestate bridge --check``: its name, heartbeat, list and stored ends,
and whether all of it fits into NATS messages. It changes nothing there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from api.cli.finding import Finding
from livestate.bridge.kamailio.answers import decoded, dialogs_in, is_list
from livestate.bridge.kamailio.evapi import EvapiClient
from livestate.bridge.kamailio.fields import dropped_ends
from livestate.bridge.kamailio.kept_ends import kept_ends
from livestate.bridge.kamailio.source import ENDS, LIST
from livestate.bridge.kamailio.translation import (
    BadFrame,
    KamailioFeed,
)
from livestate.bridge.kamailio.variables import old_names
from livestate.contract.encoding import LEAST_ROOM, Unsendable, encode_list
from livestate.contract.messages import Outgoing
from livestate.contract.node_name import node_name_problem

BEAT_SECONDS: Final = 5.0  # a node beats every 2 s
_TOLD_CHARS: Final = 200


@dataclass(slots=True)
class Seen:
    """What a Kamailio sent while it was observed."""

    beat: Outgoing | None = None
    listed: Outgoing | None = None
    kept: Any = None  # the answer to htable.dump
    dropped: dict[str, int] = field(default_factory=dict)  # ends that Kamailio dropped
    name_problem: str | None = None
    old_names: dict[str, str] = field(default_factory=dict)  # of dialog variables: old → new
    bad: list[str] = field(default_factory=list)  # rejected frames, dialogs and rows

    @property
    def complete(self) -> bool:
        complete = self.beat is not None and self.listed is not None
        return self.kept is not None and (complete or self.name_problem is not None)

    def take(self, feed: KamailioFeed, raw: bytes) -> None:
        """One frame, of any shape."""
        try:
            if is_list(raw):
                for _ in feed.answer(map(self._noted, dialogs_in(raw))):
                    pass
                return
            frame = decoded(raw)
            if isinstance(frame, dict) and frame.get("id") == "livestate-ends":
                self.kept = frame
                return
            node = frame.get("node") if isinstance(frame, dict) else None
            if isinstance(node, str):
                self.name_problem = node_name_problem(node)
            for out in feed.feed(frame):
                if out.message["phase"] == "heartbeat":
                    self.beat = out
                    self.dropped = dropped_ends(frame)
                elif out.message["phase"] == "sync":
                    self.listed = out
        except (BadFrame, ValueError, RecursionError) as error:
            self.bad.append(str(error)[:_TOLD_CHARS])

    def _noted(self, dialog: Any) -> Any:
        if isinstance(dialog, dict):
            self.old_names |= old_names(dialog)
        return dialog


async def look(address: tuple[str, int]) -> Seen:
    """Connect and ask. Raises OSError or TimeoutError if nothing answers."""
    async with asyncio.timeout(3):
        link = await EvapiClient.connect(*address)
    seen = Seen()
    feed = KamailioFeed(lambda reason: seen.bad.append(reason[:_TOLD_CHARS]))
    link.ask(LIST)
    link.ask(ENDS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BEAT_SECONDS):
            while not seen.complete and not link.closed.done():
                await link.news.wait()
                for raw in link.frames(100):
                    seen.take(feed, raw)
    link.close()
    return seen


async def findings(where: str, seen: Seen) -> AsyncIterator[Finding]:
    if seen.name_problem is not None:
        yield Finding(
            "bad",
            f"{where}: {seen.name_problem}",
            "give the node another name: LIVESTATE_NODE of livestate.cfg",
        )
        return
    if seen.beat is None:
        trouble = seen.bad[0] if seen.bad else ""
        yield Finding(
            "bad",
            f"{where}: connected, but no heartbeat in {BEAT_SECONDS:.0f} s",
            "the rtimer lines of livestate.cfg send one every 2 s: are they present? "
            f"Does another program listen here? {trouble}",
        )
        return
    yield Finding(
        "good",
        f"{where}: {seen.beat.message['node']} sends heartbeats, "
        f"{seen.beat.message.get('dialogs', '?')} dialogs",
    )
    if seen.listed is None:
        yield Finding(
            "bad",
            f"{where}: no list of dialogs {' '.join(seen.bad[:1])}",
            "it needs jsonrpcs, dialog, and event_route[evapi:message-received] of livestate.cfg",
        )
    else:
        live = len(seen.listed.message["calls"])
        yield Finding("good", f"{where}: sends its list of dialogs ({live} live)")
    if seen.old_names:
        mend = ", ".join(
            f"$dlg_var({old}) to $dlg_var({new})" for old, new in sorted(seen.old_names.items())
        )
        yield Finding(
            "odd",
            f"{where}: dialogs carry variables with their old names: "
            f"{', '.join(sorted(seen.old_names))}",
            f"rename in your routes: {mend}. If any variable begins with ls_, the "
            "old names are ignored: those calls have no company or trunk",
        )
    if not isinstance(seen.kept, dict) or "error" in seen.kept:
        yield Finding(
            "bad",
            f"{where}: does not keep the ends of calls",
            "the htable livestate_ends of livestate.cfg is missing: calls that end while "
            "the bridge is down would have no CDR",
        )
    else:
        rows = len(list(kept_ends(seen.kept, seen.bad.append)))
        yield Finding(
            "good",
            f"{where}: keeps the ends of calls until the bridge has stored them ({rows} now)",
        )
    if seen.dropped:
        dropped = ", ".join(f"{count} {kind}" for kind, count in seen.dropped.items())
        yield Finding(
            "odd",
            f"{where}: since its start Kamailio dropped ends of "
            f"calls before a bridge had stored them; they have no CDR: {dropped}",
            "keep the bridge running, and make LIVESTATE_KEEP (ends), "
            "LIVESTATE_KEEP_FAILED and LIVESTATE_KEEP_REFUSED of livestate.cfg larger "
            "than the number of calls that end while it is down; a restart of Kamailio "
            "clears the count",
        )
    if seen.bad:
        yield Finding(
            "odd",
            f"{where}: {len(seen.bad)} frames, dialogs or rows are rejected, each "
            f"alone: {seen.bad[0]}",
            "compare it with deploy/kamailio/livestate.cfg; while dialogs are rejected, "
            "no list ends a call",
        )


def fits(where: str, seen: Seen, room: int) -> Finding:
    """Whether the node's messages fit into ``room`` bytes."""
    if room < LEAST_ROOM:
        return Finding(
            "bad",
            f"{where}: accepts messages of {room} bytes",
            f"set max_payload to {LEAST_ROOM} or more: a call without any text may take "
            "half of that",
        )
    if seen.listed is None:
        return Finding("good", f"{where}: accepts messages of {room} bytes")
    calls = len(seen.listed.message["calls"])
    refused: list[str] = []
    try:
        parts = [part for part in encode_list(seen.listed, room, refused.append) if part]
    except Unsendable as error:
        return Finding(
            "bad",
            f"{where}: the list of {calls} calls cannot be sent: {error}",
            "raise max_payload of nats-server (1 MB by default)",
        )
    if refused:
        return Finding(
            "bad",
            f"{where}: {len(refused)} of {calls} calls cannot be sent: {refused[0][:_TOLD_CHARS]}",
            "livestate would refuse them; see `livestate schema`",
        )
    return Finding(
        "good",
        f"{where}: accepts messages of {room} bytes: the list has {len(parts)} "
        f"part{'s' * (len(parts) != 1)}",
    )


def largest(seen: Seen, room: int) -> int:
    """Bytes of the longest part of the list."""
    if seen.listed is None:
        return 0
    with contextlib.suppress(Unsendable):
        return max(
            len(part) for part in encode_list(seen.listed, room, lambda reason: None) if part
        )
    return 0
