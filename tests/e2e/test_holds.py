"""Hold and resume as a real Kamailio with livestate.cfg tells them: vectors of offer and answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.ingest.pipeline import Pipeline
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.registry import Nodes
from tests.e2e.agents import Dialog, Stage
from tests.e2e.lab import Kamailio

VECTORS: Final = json.loads(
    (Path(__file__).parents[1] / "vectors" / "holds.json").read_text("utf-8")
)
pytestmark = pytest.mark.timeout(60)
_DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")


def sdp(direction: str) -> str:
    """``session lines | stream, stream`` as an SDP. A stream is its kind, and then in any order
    directions, ``port=``, ``c=``, ``b=``, ``ice``, ``lines=`` (so many more)."""
    if not direction:
        return ""
    session, _, streams = direction.rpartition("|")
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.9", "s=-"]
    if "s=" in session:
        lines[2], session = session.strip(), ""
    address = "c=IN IP4 192.0.2.9"
    if "c=" in session:
        address, session = session.strip(), ""
    lines += [address, "t=0 0", *session.split()]
    for stream in streams.split(","):
        kind, _, rest = stream.strip().partition(" ")
        at, port, own = len(lines), "30000", []
        if "c=IN" in rest:
            before, _, after = rest.partition("c=IN ")
            family, host, *others = after.split()
            own.append(f"c=IN {family} {host}")
            rest = " ".join([before, *others])
        for word in rest.split():
            name, _, value = word.partition("=")
            if word in _DIRECTIONS:
                own.append(f"a={word}")
            elif name == "port":
                port = value
            elif name == "ice":
                own.append("a=ice-ufrag:abcd")
            elif name == "lines":
                own += [f"a=fmtp:{n} x" for n in range(int(value))]
            elif name == "b":
                own.append(word)
            elif name.startswith("x-"):
                own.append(f"a={word}")
        lines[at:] = [f"m={kind} {port} RTP/AVP 0", *own]
    end = "\n" if " lf" in direction else "\r\n"
    body = end.join(lines) + ("" if " bare" in direction else end)
    if " multipart" in direction:
        other = "Content-Type: text/plain\r\n\r\nm=audio 1 x 0\r\na=sendrecv\r\n"
        body = f"--b1\r\nContent-Type: application/sdp\r\n\r\n{body}\r\n--b1\r\n{other}--b1--\r\n"
    return body


def folded(frames: list[Any]) -> ActiveCalls:
    feed, table = KamailioFeed(), ActiveCalls(secret=b"s" * 16, epoch="e")
    pipeline = Pipeline(table, Nodes(stale_after=6_000), (), clock=lambda: 1)
    for frame in frames:
        for one in feed.feed(frame):
            pipeline.handle(one.subject, orjson.dumps(one.message))
    assert not pipeline.counters.rejected
    return table


def state_of(frames: list[Any], call_id: str) -> str:
    return next(call.state for call in folded(frames).calls.values() if call.call_id == call_id)


async def test_hold_and_resume_are_those_of_rfc_3264(tell: Any) -> None:
    """Each vector is a call. Its state by its events and by a list that is taken alone agree."""
    wrong = []
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        callee, caller = await stage.agent(kamailio.gateways[0]), await stage.agent()
        for number, vector in enumerate(VECTORS):
            dialog = Dialog.between(caller, callee, str(39_100_001 + number), "44207100")
            before = vector.get("before", "audio")
            await dialog.set_up(sdp(before), sdp(vector.get("before_answer", before)))
            for step in vector["steps"]:
                await dialog.negotiate(
                    step.get("by", "caller"), step.get("method", "INVITE"), sdp(step["offer"]),
                    sdp(step["answer"]), code=step.get("code", 200),
                    ack=sdp(step.get("ack", "")), early=sdp(step.get("early", "")),
                )  # fmt: skip
            await asyncio.sleep(0.05)
            states = (state_of(stage.listener.of(dialog.call_id), dialog.call_id),
                    state_of(await stage.listener.listed(), dialog.call_id))  # fmt: skip
            if states != (vector["state"],) * 2:
                wrong.append((vector["what"], vector["state"], states))
            await dialog.hang_up()
    assert not wrong
    tell(f"{len(VECTORS)} offers and answers: held or not by events and by lists")
