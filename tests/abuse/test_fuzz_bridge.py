"""Whatever comes over evapi: the bridge lives, and a good call before and after it arrives.

The whole way for real: frames on a TCP connection, the bridge, a real nats-server, and every
message read as livestate reads it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from livestate.bridge.kamailio.netstring import encode
from livestate.bridge.kamailio.source import KamailioSource
from livestate.bridge.relay import Bridge
from livestate.contract.errors import Rejected
from livestate.contract.events import Sync
from livestate.contract.parse import parse
from livestate.devtools.servers import NatsServer
from livestate.process.tasks import cancel_and_wait
from tests.evapi import Peer
from tests.examples import examples
from tests.harness import now_ms
from tests.unit.bridge.test_captures import SMALL, frames

# JSON that one reader or another stumbles over, as its text.
ODD_TEXTS = [
    "1e999", "-1e999", "NaN", "Infinity", "9" * 19, "9" * 30, "-" + "9" * 30, "9" * 5_000, "1.5",
    "-1", "0", "null", "true", "[]", "{}", '""', '"<null>"', '"a b"', '"x.y"', '"*"', '">"',
    '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', json.dumps("x" * 70_000), json.dumps("\0" * 600),
    "[" * 900 + "]" * 900, "[" * 100_000, '{"a":' * 300 + "1" + "}" * 300, "[1e999]", '{"a":1e999}',
    "1" + "0" * 400, '"1e999"', '"' + "9" * 400 + '"', "[null]", "[[]]", '[{"slot":null}]',
]  # fmt: skip
HOLE = "@hole@"
FIELDS = [
    "node", "epoch", "seq", "ts", "ev", "v", "h_entry", "h_id", "call_id", "call-id", "state",
    "variables", "from_uri", "to_uri", "ruri_user", "sip_code", "sip_reason", "by", "detail",
    "company_id", "trunk", "direction", "attempt", "ts_setup", "ts_answer", "kept", "starting",
    "ongoing", "jsonrpc", "id", "result", "error", "from_uri_base64",
]  # fmt: skip
odd_text = st.sampled_from(ODD_TEXTS) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
).map(json.dumps)


def with_odd(value: dict[str, Any], field: str, odd: str) -> str:
    return json.dumps(value | {field: HOLE}).replace(json.dumps(HOLE), odd)


def envelope(kind: str) -> dict[str, Any]:
    now = now_ms()
    return {"v": 1, "ev": kind, "node": NAME, "epoch": 7, "seq": 1, "ts": f"{now // 1000}.000"}


NAME = "kam-fuzz-1"
DIALOG = {"h_entry": 1, "h_id": 1, "call-id": "c1", "state": 4, "variables": [{"ls_company": "1"}],
          "from_uri": "sip:1@x", "to_uri": "sip:2@x"}  # fmt: skip
END = envelope("ended") | {"call_id": "kept", "h_entry": 5, "h_id": 5, "by": "caller"}


@st.composite
def spoilt_events(draw: st.DrawFn) -> list[bytes]:
    frame = draw(st.sampled_from(EVENTS)) | {"node": NAME}
    field = draw(st.sampled_from(FIELDS))
    return [with_odd(frame, field, draw(odd_text)).encode("utf-8", "surrogatepass")]


@st.composite
def spoilt_lists(draw: st.DrawFn) -> list[bytes]:
    dialogs = [json.dumps(DIALOG)]
    for _ in range(draw(st.integers(0, 3))):
        odd = draw(odd_text)
        dialogs.append(
            odd if draw(st.booleans()) else with_odd(DIALOG, draw(st.sampled_from(FIELDS)), odd)
        )
    result = draw(st.just(f"[{','.join(dialogs)}]") | odd_text)
    answer = '{"jsonrpc":"2.0","id":"livestate-list","result":' + result + "}"
    marks = [json.dumps(envelope(kind)) for kind in ("snapshot_begin", "snapshot_end")]
    sent = [marks[0], answer, marks[1]]
    if draw(st.booleans()):
        at = draw(st.integers(0, 2))
        sent[at] = draw(st.sampled_from(
            ['{"jsonrpc":"2.0","error":{"code":500,"message":"no"},"id":"livestate-list"}',
             with_odd(envelope("snapshot_begin"), draw(st.sampled_from(FIELDS)), draw(odd_text))]
        ))  # fmt: skip
    return [one.encode("utf-8", "surrogatepass") for one in sent]


@st.composite
def spoilt_dumps(draw: st.DrawFn) -> list[bytes]:
    value = draw(st.just(json.dumps(END)) | odd_text | st.just(
        with_odd(END, draw(st.sampled_from(FIELDS)), draw(odd_text))))  # fmt: skip
    row = {"name": "9", "value": value}
    text = draw(st.just(json.dumps(row)) | odd_text | st.just(
        with_odd(row, draw(st.sampled_from(["name", "value"])), draw(odd_text))))  # fmt: skip
    bucket = draw(st.just('{"entry":0,"size":1,"slot":[' + text + "]}") | odd_text)
    result = draw(st.just(f"[{bucket}]") | odd_text)
    answer = '{"jsonrpc":"2.0","id":"livestate-ends","result":' + result + "}"
    return [answer.encode("utf-8", "surrogatepass")]


SPOILT = st.one_of(
    spoilt_events(), spoilt_lists(), spoilt_dumps(),
    st.binary(max_size=60).map(lambda data: [data]),
    odd_text.map(lambda text: [text.encode("utf-8", "surrogatepass")]),
)  # fmt: skip
EVENTS: list[dict[str, Any]] = [frame for frame in frames(SMALL) if "ev" in frame]


class Chain:
    """Evapi, bridge, NATS, and a listener that reads as livestate does."""

    def __init__(self, runner: asyncio.Runner, spool: Path) -> None:
        self.runner = runner
        self.server = NatsServer()
        self.peer = Peer(NAME)
        self.peer.beats = False
        self.said: set[str] = set()
        self.wrong: list[str] = []  # what livestate would have rejected
        self.calls = 0
        runner.run(self._start(spool))

    async def _start(self, spool: Path) -> None:
        await self.server.start()
        await self.peer.start()
        self.peer._beating = asyncio.create_task(self._beat())
        self.client = await nats.connect(self.server.url)

        async def heard(message: nats.aio.msg.Msg) -> None:
            try:
                event = parse(message.subject, message.data)
            except Rejected as rejected:
                self.wrong.append(f"{message.subject}: {rejected}")
                return
            if isinstance(event, Sync):
                self.wrong += map(str, event.refused)
            self.said.add(f"{event.phase} {getattr(event, 'call_id', '')}")

        await self.client.subscribe("call.events.>", cb=heard)
        self.bridge = Bridge(KamailioSource("127.0.0.1", self.peer.port), self.server.url, spool,
                             clock=now_ms, spool_bytes=64 * 1024**2, list_seconds=60)  # fmt: skip
        self.running = asyncio.create_task(self.bridge.run())
        await self.good_call()

    async def _beat(self) -> None:
        while True:  # or the bridge takes the connection for half-open
            self.peer.send(orjson.dumps(envelope("heartbeat")))
            await asyncio.sleep(1)

    async def good_call(self) -> None:
        self.calls += 1
        name = f"{self.calls}@{NAME}"
        async with asyncio.timeout(15):
            while f"answered {name}" not in self.said:
                assert not self.running.done(), self.running
                if not self.peer._bridges or not self.bridge.connection.connected:
                    await asyncio.sleep(0.02)
                    continue
                self.peer.call(self.calls)
                for _ in range(20):
                    await asyncio.sleep(0.005)
                    if f"answered {name}" in self.said:
                        break
        self.said.clear()

    async def survives(self, sent: list[bytes], *, raw: bool = False) -> None:
        for frame in sent:
            self.peer.send_raw(frame if raw else encode(frame))
        await self.good_call()
        assert not self.running.done()
        assert self.wrong == []
        assert self.bridge.source.defects == 0  # type: ignore[attr-defined]

    async def close(self) -> None:
        await cancel_and_wait(self.running, self.peer._beating)
        await self.client.close()
        self.peer.stop()
        await self.server.close()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with asyncio.Runner() as runner:
        chain = Chain(runner, tmp_path_factory.mktemp("spool"))
        yield chain
        runner.run(chain.close())


@given(st.lists(SPOILT, min_size=1, max_size=4))
@settings(max_examples=examples(250), suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([[b"[" * 1_000_000], [b"9" * 1_000_000], [b'{"ev":' * 50_000]])
@example([[with_odd(END, field, odd).encode("utf-8", "surrogatepass")]
          for field in ("node", "epoch", "seq", "ts", "h_id") for odd in ODD_TEXTS])  # fmt: skip
def test_whatever_frames_come_good_calls_pass(chain: Chain, sent: list[list[bytes]]) -> None:
    chain.runner.run(chain.survives([frame for group in sent for frame in group]))


@pytest.mark.parametrize(
    "data",
    [b"7", b":", b"5:abc", b"-1:x,", b"1e9:x,", b"99999999:", b"00000003:abc,", b"3:abc;",
     b"\0" * 99, b"\xff\xfe", b"2:{},2:{},0:,,,", encode(b"") * 1_000, b"123456789:x,", b" 2:{},"],
)  # fmt: skip
def test_what_is_no_netstring_costs_a_connection_at_most(chain: Chain, data: bytes) -> None:
    chain.runner.run(chain.survives([data], raw=True))


@pytest.mark.parametrize("name", ["a b", "a\nb", "", "x" * 254, "*", ">", "é", "a/b", "<null>"])
def test_a_node_of_an_impossible_name_kills_no_bridge(chain: Chain, name: str) -> None:
    bad = chain.bridge.counts.bad
    sent = [orjson.dumps(frame | {"node": name}) for frame in (*EVENTS[:40], END)]
    chain.runner.run(chain.survives(sent))
    assert chain.bridge.counts.bad >= bad + len(sent)
