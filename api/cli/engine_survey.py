"""``livestate doctor`` of an edge: whether it may hear an engine, and which one it hears."""

from __future__ import annotations

import asyncio
from typing import Final

from nats.aio.msg import Msg

from api.cli.finding import Finding
from livestate.cluster import wire
from livestate.cluster.wire import Beat, Unreadable
from livestate.nats.connection import AWAY
from livestate.nats.session import Session

LISTEN_SECONDS: Final = 3.0  # an engine beats twice a second


async def engine(session: Session, where: str, errors: list[Exception]) -> Finding:
    """Listens to the beats of engines. ``errors``: what the server refuses meanwhile."""
    beats: dict[str, Beat] = {}  # by epoch
    unreadable: list[str] = []

    async def on_beat(message: Msg) -> None:
        try:
            beat = wire.decode_beat(message.data)
        except Unreadable as error:
            unreadable.append(str(error))
        else:
            beats[beat.epoch] = beat

    try:
        await session.subscribe(wire.ENGINE, cb=on_beat)
        await session.flush()
        await asyncio.sleep(LISTEN_SECONDS)
    except AWAY as error:
        return Finding(
            "bad",
            f"{where}: {session.reason or error}",
            "the server closed the connection; its log says why",
        )
    if errors:
        right = "let this user subscribe and publish as `edge` does in deploy/nats.conf"
        return Finding("bad", f"{where}: {errors[0]}", right)
    return finding(where, list(beats.values()), unreadable)


def finding(where: str, beats: list[Beat], unreadable: list[str]) -> Finding:
    """The most important of what was heard."""
    if not beats and unreadable:
        return Finding(
            "bad",
            f"{where}: beats of an engine cannot be read: {unreadable[0]}",
            "update this edge: an edge reads frames of engines of its own schema",
        )
    if not beats:
        return Finding(
            "odd",
            f"{where}: no engine beats; this edge would say *stale* for ever",
            "start an engine: LIVESTATE_ROLE=engine livestate serve",
        )
    highest = max(beat.fence for beat in beats)
    leading = [beat for beat in beats if beat.fence == highest]
    if len(leading) > 1:
        return Finding(
            "odd",
            f"{where}: {len(leading)} engines publish, and no lease decides between them",
            "give all engines the same Redis: the one that holds the lease there publishes",
        )
    (beat,) = leading
    if not beat.ready:
        return Finding(
            "odd", f"{where}: the engine is not ready yet", "`livestate doctor` beside it says why"
        )
    return Finding("good", f"{where}: an engine publishes, with fence {beat.fence}")
