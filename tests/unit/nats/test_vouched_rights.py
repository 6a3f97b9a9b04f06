"""The rights of each user of deploy/nats-vouched.conf beyond its work, above all on CDRs of other
nodes: each forbidden act is tried on a real nats-server with the configuration that we ship."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nats
import orjson
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from livestate.nats.jetstream import STREAM
from tests.harness import Node
from tests.unit.ingest.test_vouched import Guarded, make_streams, node_of
from tests.unit.nats.test_insiders import FORBIDDEN, Insider

TARGETS: Final = (None, "_INBOX.bridge.seen.push", "cdr.dead", "call.events.lost",
                  "nodes.kam-1.call.events.setup", "nodes.kam-1.cdr.raw")  # fmt: skip
FILTERS: Final[tuple[dict[str, Any], ...]] = (
    {}, {"filter_subject": ">"}, {"filter_subject": "nodes.*.cdr.raw"},
    {"filter_subject": "nodes.kam-1.cdr.raw"}, {"filter_subject": "nodes.kam-2.cdr.raw"},
    {"filter_subjects": ["nodes.kam-1.cdr.raw"]},
    {"filter_subjects": ["nodes.kam-2.cdr.raw", "nodes.kam-1.cdr.raw"]},
    {"filter_subject": "nodes.kam-2.cdr.raw", "filter_subjects": ["nodes.kam-1.cdr.raw"]},
)  # fmt: skip
# Where a request for a consumer may be sent; the last two are allowed.
SUBJECTS: Final = ("", ".{}", ".{}.nodes.*.cdr.raw", ".{}.nodes.kam-1.cdr.raw", ".{}.>",
                   ".{}.nodes.kam-2.cdr.raw", ".*.nodes.kam-2.cdr.raw")  # fmt: skip
REQUESTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("STREAM.MSG.GET.CDR", {"seq": 1}), ("DIRECT.GET.CDR", {"seq": 1}),
    ("DIRECT.GET.CDR.nodes.kam-1.cdr.raw", {}), ("STREAM.PURGE.CDR", {}),
    ("STREAM.DELETE.CDR", {}), ("STREAM.MSG.DELETE.CDR", {"seq": 1}),
    ("STREAM.UPDATE.CDR", {"name": STREAM, "subjects": ["x"]}), ("STREAM.LIST", {}),
    ("STREAM.CREATE.EVIL", {"name": "EVIL", "sources": [{"name": STREAM}]}),
    ("CONSUMER.LIST.CDR", {}), ("CONSUMER.NAMES.CDR", {}), ("CONSUMER.DELETE.CDR.x", {}),
    ("CONSUMER.DURABLE.CREATE.CDR.x", {"stream_name": STREAM, "config": {"durable_name": "x"}}),
)  # fmt: skip
HEADERS: Final = (
    {"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1s"},
    {"Nats-Schedule": "@at 2009-11-10T23:00:00Z", "Nats-Schedule-Target": "nodes.kam-1.cdr.raw"},
)  # fmt: skip
OPERATORS: Final = {f"$JS.API.STREAM.{verb}.{name}" for verb in ("CREATE", "UPDATE")
                    for name in (STREAM, "CDR_DEAD")}  # fmt: skip
BEATS: Final = {"nodes.kam-1.call.events.heartbeat", "nodes.kam-2.call.events.heartbeat"}


async def test_no_bridge_reads_or_moves_cdrs_beyond_its_own(tmp_path: Path) -> None:
    """Whatever kam-2 asks of JetStream, it sees no CDR of kam-1, nothing comes to ``cdr.dead`` or
    to livestate's events, and no stream is changed."""
    async with Guarded(tmp_path) as server:
        await make_streams(server)
        service = await nats.connect(server.url_of("livestate"), inbox_prefix=b"_INBOX.livestate")
        received: list[Msg] = []
        for subject in ("call.events.lost", "nodes.*.call.events.>"):
            await _collect(service, subject, received)
        async with await node_of(server, "kam-1") as one, await node_of(server, "kam-2") as two:
            for node in (one, two):
                await node.client.jetstream().publish("cdr.raw", node.name.encode())
            seen: list[Msg] = []
            await _collect(two.client, "_INBOX.bridge.seen.>", seen)
            await _attack(two)
        assert [one for one in seen if one.data == b"kam-2"], "a bridge reads its own CDRs"
        assert not [one for one in seen if one.data == b"kam-1"]
        answers = [orjson.loads(one.data) for one in seen if one.data.startswith(b"{")]
        assert {one["config"]["filter_subject"] for one in answers if "config" in one} == {
            "nodes.kam-2.cdr.raw"
        }
        assert {one.subject for one in received} <= BEATS
        streams = service.jetstream()
        assert (await streams.stream_info("CDR_DEAD")).state.messages == 0
        info = await streams.stream_info(STREAM)
        assert info.config.subjects == ["nodes.*.cdr.raw"]
        assert info.state.first_seq == 1, "nothing was purged"
        await service.close()


async def _collect(client: Client, subject: str, found: list[Msg]) -> None:
    async def take(message: Msg) -> None:
        found.append(message)

    await client.subscribe(subject, cb=take)
    await client.flush()


async def _attack(node: Node) -> None:
    async def ask(subject: str, request: dict[str, Any], reply: str) -> None:
        for api in ("$JS.API", "CDRS", "LS"):
            await node.client.publish(f"{api}.{subject}", orjson.dumps(request), reply=reply)

    for name, subject, config in _consumers():
        body = {"stream_name": STREAM, "config": config}
        await ask(f"CONSUMER.CREATE.CDR{subject}", body, f"_INBOX.bridge.seen.{name}")
    await node.client.flush()
    await asyncio.sleep(0.5)  # JetStream makes consumers in its own time
    for name, _, _ in _consumers():
        for reply in ("_INBOX.bridge.seen.pull", "cdr.dead", "call.events.lost"):
            await ask(f"CONSUMER.MSG.NEXT.CDR.{name}", {"batch": 10, "no_wait": True}, reply)
    for subject, request in REQUESTS:
        await ask(subject, request, "_INBOX.bridge.seen.api")
    for headers in HEADERS:
        await node.client.publish("cdr.raw", b"kam-2", reply="cdr.dead", headers=headers)
    await node.client.flush()
    await asyncio.sleep(0.5)


def _consumers() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Of each consumer: its name, the end of the subject to ask on, its configuration."""
    for at, subject in enumerate(SUBJECTS):
        for which, chosen in enumerate(FILTERS):
            for to, target in enumerate(TARGETS):
                name = f"evil-{at}-{which}-{to}"
                config = {"name": name, "ack_policy": "none", "mem_storage": True} | chosen
                if target is not None:
                    config["deliver_subject"] = target
                yield name, subject.format(name), config


@pytest.mark.parametrize("user", ["livestate", "kam-2", "streams"])
async def test_no_user_may_do_more_than_its_work(tmp_path: Path, user: str) -> None:
    """The streams are made by ``streams`` alone, and it may do nothing else."""
    events = ("call.events.setup", "nodes.kam-1.call.events.setup", "nodes.kam-1.cdr.raw")
    others = {
        "livestate": (*events, "cdr.raw", "call.events.sync"),
        "kam-2": (*events[1:], "call.events.lost", "cdr.dead", "call.resync.kam-1"),
        "streams": (*events, "call.events.lost", "cdr.raw", "cdr.dead", "call.resync.kam-1"),
    }[user]
    api = [(subject, body) for subject, body in FORBIDDEN
           if user != "streams" or subject not in OPERATORS]  # fmt: skip
    async with Guarded(tmp_path) as server, Insider.on(server, user) as insider:
        for subject, body in [*api, *((one, {}) for one in others)]:
            for asked in {subject, subject.replace("$JS.API", "CDRS")}:
                assert not await insider.may_publish(asked, orjson.dumps(body)), asked
        for subject in (">", "*.>", "call.events.setup", "cdr.>", "_INBOX.>", "_INBOX.*.>",
                        "nodes.kam-1.cdr.raw", "$JS.>", "CDRS.>", "$SYS.>"):  # fmt: skip
            assert not await insider.may_subscribe(subject), subject
