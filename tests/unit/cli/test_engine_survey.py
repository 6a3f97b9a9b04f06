"""``livestate doctor`` beside an edge: which engines it hears, and whether it may hear any.

tests/unit/cluster/test_roles.py runs it beside a real engine and a real edge."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest

from api.cli import engine_survey
from api.cli.finding import Finding
from api.cli.nats import reached
from livestate.cluster import wire
from livestate.cluster.wire import Beat
from livestate.process.tasks import cancel_and_wait
from tests.unit.nats.test_rights import Guarded

BEAT = Beat(3, "e" * 16, True, 0, None, "", [])
OLDER = BEAT._replace(epoch="f" * 16, fence=2)


@pytest.mark.parametrize(
    ("beats", "unreadable", "verdict", "said"),
    [
        ([BEAT], [], "good", "an engine publishes, with fence 3"),
        ([OLDER, BEAT], [], "good", "an engine publishes, with fence 3"),  # one was replaced
        ([BEAT], ["schema 9"], "good", "with fence 3"),
        ([], [], "odd", "no engine beats"),
        ([], ["schema 9"], "bad", "cannot be read: schema 9"),
        ([BEAT, OLDER._replace(fence=3)], [], "odd", "2 engines publish, and no lease decides"),
        ([BEAT._replace(ready=False)], [], "odd", "the engine is not ready yet"),
    ],
)
def test_the_most_important_of_what_was_heard(
    beats: list[Beat], unreadable: list[str], verdict: str, said: str
) -> None:
    found = engine_survey.finding("NATS at x", beats, unreadable)
    assert found.verdict == verdict
    assert found.what.startswith("NATS at x: ")
    assert said in found.what
    assert bool(found.mend) == (verdict != "good")


async def surveyed(server: Guarded, user: str, *payloads: bytes) -> Finding:
    """What the survey finds with the rights of ``user`` while an engine sends these beats."""
    engine = await nats.connect(server.url_of("livestate"))

    async def beat() -> None:
        while True:
            for payload in payloads:
                await engine.publish(wire.ENGINE, payload)
            await asyncio.sleep(0.05)

    beating = asyncio.create_task(beat())
    errors: list[Exception] = []
    session, refused = await reached(server.url_of(user), None, f"_INBOX.{user}", errors)
    assert session is not None, refused
    try:
        return await engine_survey.engine(session, "NATS", errors)
    finally:
        await session.close()
        await cancel_and_wait(beating)
        await engine.close()


async def test_an_edge_hears_an_engine_with_the_shipped_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_survey, "LISTEN_SECONDS", 2.0)
    async with Guarded(tmp_path) as server:
        heard = await surveyed(server, "edge", wire.encode_beat(BEAT), wire.encode_beat(OLDER))
        assert (heard.verdict, heard.what) == ("good", "NATS: an engine publishes, with fence 3")
        newer = await surveyed(server, "edge", b'{"schema":999}')
        assert (newer.verdict, "update this edge" in newer.mend) == ("bad", True)
        wrong = await surveyed(server, "bridge", wire.encode_beat(BEAT))
        assert (wrong.verdict, "livestate.engine" in wrong.what) == ("bad", True)
        assert "as `edge` does in deploy/nats.conf" in wrong.mend
