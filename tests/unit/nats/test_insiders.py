"""An attacker with the password of the service's NATS user, or of a bridge's: each
forbidden act is tried on a real nats-server with the configuration that we ship."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import nats
import orjson
import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout

from api.cli.child_service import Instance
from livestate.devtools.servers import Valkey
from livestate.nats.jetstream import STREAM
from tests.harness import Node, Stream, metrics
from tests.unit.nats.test_rights import Guarded

USERS = ("livestate", "bridge")


class Server(Protocol):
    """A nats-server with users."""

    def url_of(self, user: str) -> str: ...


class Insider:
    """A client with a user's password, and what the server refused it."""

    def __init__(self, client: Client, refused: list[str]) -> None:
        self.client = client
        self.refused = refused

    @classmethod
    @contextlib.asynccontextmanager
    async def on(cls, server: Server, user: str) -> AsyncIterator[Insider]:
        refused: list[str] = []

        async def heard(error: Exception) -> None:
            refused.append(str(error).lower())

        client = await nats.connect(
            server.url_of(user), error_cb=heard, inbox_prefix=f"_INBOX.{user}"
        )
        try:
            yield cls(client, refused)
        finally:
            await client.close()

    async def may_publish(self, subject: str, body: bytes = b"", reply: str = "") -> bool:
        before = len(self.refused)
        await self.client.publish(subject, body, reply=reply)
        await self.client.flush()
        await self.client.flush()  # a refusal comes before the answer to this one
        return not any("for publish" in text for text in self.refused[before:])

    async def may_subscribe(self, subject: str) -> bool:
        before = len(self.refused)
        await self.client.subscribe(subject)
        await self.client.flush()
        await self.client.flush()
        return not any("for subscription" in text for text in self.refused[before:])

    async def ask(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.request(subject, orjson.dumps(body), timeout=3)
        reply: dict[str, Any] = orjson.loads(answer.data)
        return reply


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with Guarded(tmp_path) as server:
        yield server


EVIL = {
    "name": "EVIL", "subjects": ["evil.x"], "storage": "memory", "num_replicas": 1,
    "republish": {"src": "evil.x", "dest": "call.events.setup"},
}  # fmt: skip
FORBIDDEN = [
    ("$JS.API.STREAM.CREATE.EVIL", EVIL),
    ("$JS.API.STREAM.CREATE.CDR", EVIL | {"name": STREAM}),
    ("$JS.API.STREAM.CREATE.CDR_DEAD", EVIL | {"name": "CDR_DEAD"}),
    ("$JS.API.STREAM.UPDATE.CDR", EVIL | {"name": STREAM, "subjects": ["cdr.raw"]}),
    ("$JS.API.STREAM.UPDATE.CDR_DEAD", EVIL | {"name": "CDR_DEAD", "subjects": ["cdr.dead"]}),
    ("$JS.API.STREAM.CREATE.MIRROR", {"name": "MIRROR", "mirror": {"name": STREAM}}),
    ("$JS.API.STREAM.CREATE.SOURCE", {"name": "SOURCE", "sources": [{"name": STREAM}]}),
    ("$JS.API.STREAM.DELETE.CDR", {}), ("$JS.API.STREAM.DELETE.CDR_DEAD", {}),
    ("$JS.API.STREAM.PURGE.CDR", {}), ("$JS.API.STREAM.PURGE.CDR_DEAD", {}),
    ("$JS.API.STREAM.MSG.DELETE.CDR", {"seq": 1}),
    ("$JS.API.STREAM.MSG.GET.CDR", {"seq": 1}), ("$JS.API.DIRECT.GET.CDR", {"seq": 1}),
    ("$JS.API.STREAM.RESTORE.EVIL", {"config": EVIL}), ("$JS.API.STREAM.SNAPSHOT.CDR", {}),
    ("$JS.API.STREAM.LEADER.STEPDOWN.CDR", {}), ("$JS.API.STREAM.LIST", {}),
    ("$JS.API.CONSUMER.DURABLE.CREATE.CDR.evil", {"stream_name": STREAM, "config": {}}),
    ("$JS.API.CONSUMER.CREATE.CDR_DEAD.evil", {"stream_name": "CDR_DEAD", "config": {}}),
    ("$JS.API.CONSUMER.DELETE.CDR.evil", {}), ("$JS.API.CONSUMER.LIST.CDR", {}),
    ("$JS.API.CONSUMER.NAMES.CDR", {}), ("$JS.API.CONSUMER.PAUSE.CDR.evil", {}),
    ("$JS.API.INFO", {}), ("$JS.API.META.LEADER.STEPDOWN", {}), ("$JS.API.ACCOUNT.PURGE.$G", {}),
    ("$JS.ACK.CDR.evil.1.1.1.1.0", {}), ("$SYS.REQ.SERVER.PING", {}),
    ("$SYS.REQ.ACCOUNT.PING.CONNZ", {}), ("$SYS.REQ.USER.INFO", {}), ("$SRV.PING", {}),
    ("_INBOX.livestate.x", {}), ("_INBOX.bridge.x", {}), ("_INBOX.x", {}),
]  # fmt: skip


@pytest.mark.parametrize("user", USERS)
async def test_no_user_may_change_a_stream_or_ask_another_api(guarded: Guarded, user: str) -> None:
    async with Insider.on(guarded, user) as insider:
        for subject, body in FORBIDDEN:
            assert not await insider.may_publish(subject, orjson.dumps(body)), subject
    async with Insider.on(guarded, "streams") as operator:
        for name, kept in ((STREAM, "cdr.raw"), ("CDR_DEAD", "cdr.dead")):
            info = await operator.ask(f"$JS.API.STREAM.INFO.{name}", {})
            assert info["config"]["subjects"] == [kept]
            assert "republish" not in info["config"]


@pytest.mark.parametrize(("user", "subjects"), [
    ("livestate", ("call.events.setup", "call.events.*", "call.events.>", "call.events.sync",
                   "call.events.heartbeat", "cdr.raw", "nodes.a.call.events.setup")),
    ("bridge", ("call.events.lost", "call.resync.n", "cdr.dead", "call.events.a.b",
                "nodes.a.call.events.setup", "livestate.frames.x")),
])  # fmt: skip
async def test_no_user_may_speak_for_the_other(
    guarded: Guarded, user: str, subjects: tuple[str, ...]
) -> None:
    async with Insider.on(guarded, user) as insider:
        for subject in subjects:
            assert not await insider.may_publish(subject, b"{}"), subject


@pytest.mark.parametrize(("user", "subjects"), [
    ("livestate", ("_INBOX.>", "_INBOX.bridge.>", "_INBOX.*", "_INBOX.bridge.*", "_INBOX.*.>", ">",
                   "cdr.raw", "cdr.>", "$JS.>", "$SYS.>", "$JS.EVENT.>", "call.resync.*", "*.>")),
    ("bridge", ("_INBOX.>", "_INBOX.livestate.>", "_INBOX.livestate.*", "_INBOX.*.>", ">", "*.>",
                "call.events.>", "call.events.*", "cdr.raw", "cdr.>", "$JS.>", "$SYS.>",
                "$JS.EVENT.>")),
])  # fmt: skip
async def test_no_user_receives_foreign_subjects(
    guarded: Guarded, user: str, subjects: tuple[str, ...]
) -> None:
    async with Insider.on(guarded, user) as insider:
        for subject in subjects:
            assert not await insider.may_subscribe(subject), subject


async def test_replies_to_one_user_reach_that_one_only(guarded: Guarded) -> None:
    """Each asks JetStream and is answered; the other, subscribed to all it may, hears nothing."""
    for user, other in (USERS, USERS[::-1]):
        async with Insider.on(guarded, user) as one, Insider.on(guarded, other) as listener:
            received: list[str] = []

            async def hear(message: Any, received: list[str] = received) -> None:
                received.append(message.subject)

            await listener.client.subscribe(f"_INBOX.{other}.>", cb=hear)
            await listener.client.flush()
            reply = await one.ask("$JS.API.STREAM.INFO.CDR", {})
            assert reply["config"]["name"] == STREAM
            await asyncio.sleep(0.1)
            assert received == []


ROUNDABOUT = ("call.events.setup", "call.events.lost", "call.events.sync",
              "call.events.heartbeat")  # fmt: skip


async def test_no_roundabout_way_through_jetstream_shows_or_ends_a_call(
    guarded: Guarded, tmp_path: Path
) -> None:
    """nats-server does not check whether the creator of a consumer may publish to its
    deliver_subject (nats-server#8274), nor whether a request may name that reply. What comes so
    keeps the subject cdr.raw, or is no event: rejected and counted."""
    async with Valkey() as redis:
        service = Instance(tmp_path, {"NATS_URL": guarded.url_of("livestate"),
                                      "REDIS_URL": redis.url, "READY_SECONDS": "1"})  # fmt: skip
        async with service, await Node.connect(guarded.url_of("bridge")) as node:
            await service.until_ready()
            async with await Stream.open(service.url, service.token()) as stream:
                await node.call("1.1")
                await stream.until(lambda s: list(s.states.values()) == ["answered"])
                forged = [node.envelope() | {"seq": node.seq + 10**6, "phase": phase,
                                             "call_id": "1.1@" + node.name, "dialog": "1.1"}
                          for phase in ("setup", "lost", "sync", "heartbeat")]  # fmt: skip
                for user in USERS:
                    async with Insider.on(guarded, user) as insider:
                        await _roundabout(insider, forged if user == "bridge" else [])
                await asyncio.sleep(1)
                seen = await metrics(service)
                await node.say("hold", "1.1")
                await stream.until(lambda s: list(s.states.values()) == ["held"])
            assert seen["livestate_calls_lost_total"] == seen["livestate_calls_given_up_total"] == 0
            assert seen["livestate_active_calls"] == 1
            async with Insider.on(guarded, "streams") as operator:
                info = await operator.ask("$JS.API.STREAM.INFO.CDR", {})
                assert info["state"]["messages"] >= len(forged), "nothing purged or deleted"


async def _roundabout(insider: Insider, forged: list[dict[str, Any]]) -> None:
    for message in forged:
        # As text that is no CDR: what is wanted is that JetStream hands it on elsewhere.
        await insider.client.publish("cdr.raw", orjson.dumps(message))
    await insider.client.flush()
    api = "$JS.API.CONSUMER.CREATE.CDR"
    escalations = ("$JS.API.STREAM.DELETE.CDR", "$JS.API.STREAM.PURGE.CDR",
                   "$JS.API.STREAM.CREATE.EVIL")  # fmt: skip
    for number, subject in enumerate((*ROUNDABOUT, *escalations)):
        for kind in ("push", "pull"):
            name = f"evil-{kind}-{number}"
            config: dict[str, Any] = {"name": name, "deliver_policy": "all", "ack_policy": "none",
                                      "mem_storage": True}  # fmt: skip
            if kind == "push":
                config["deliver_subject"] = subject
            with contextlib.suppress(NatsTimeout):
                await insider.ask(f"{api}.{name}", {"stream_name": STREAM, "config": config})
            if kind == "pull":
                await insider.may_publish(f"$JS.API.CONSUMER.MSG.NEXT.CDR.{name}", b"10", subject)
    for subject in ROUNDABOUT:
        for asked in ("$JS.API.STREAM.INFO.CDR", "$JS.API.STREAM.NAMES", "call.resync.x"):
            await insider.may_publish(asked, b"", subject)
