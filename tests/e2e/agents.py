"""SIP user agents that a test plays line by line, for what a phone does only on a bad day.

A :class:`Agent` is a UDP socket. A :class:`Dialog` is one call between two of them through a
Kamailio: it is set up, its media is negotiated again in any way, and it ends. Messages are text;
nothing is sent again, because nothing is lost on the loopback.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

import orjson

from livestate.bridge.kamailio.netstring import Decoder, encode
from livestate.process.tasks import cancel_and_wait
from tests.e2e.lab import Kamailio

_numbers: Final = itertools.count(1)
_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP message: its first line, its header fields in order, its body."""

    start: str
    fields: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def parse(cls, data: bytes) -> Message:
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        pairs = (line.partition(":")[::2] for line in lines)
        return cls(start, tuple((name.strip(), value.strip()) for name, value in pairs), body)

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.fields if header.lower() == name.lower()]

    def one(self, name: str) -> str:
        return self.all(name)[0]

    @property
    def method(self) -> str:
        """Of a request; of a response that of its request."""
        return self.one("CSeq").split()[1]

    @property
    def code(self) -> int | None:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0") else None


def text(start: str, fields: list[tuple[str, str]], body: str = "", kind: str = "") -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in fields)]
    if body:
        lines.append(f"Content-Type: {kind or 'application/sdp'}")
    return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body]).encode()


class Agent(asyncio.DatagramProtocol):
    """One user agent on a port of its own, or on ``port``."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[Message] = asyncio.Queue()

    @classmethod
    async def open(cls, kamailio: Kamailio, port: int = 0) -> Self:
        _, agent = await asyncio.get_running_loop().create_datagram_endpoint(
            cls, local_addr=("127.0.0.1", port)
        )
        agent.kamailio = kamailio
        return agent

    kamailio: Kamailio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port: int = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, address: object) -> None:
        if data.strip():
            self._came.put_nowait(Message.parse(data))

    def send(self, message: bytes) -> None:
        self._transport.sendto(message, ("127.0.0.1", self.kamailio.sip_port))

    async def wait(self, *wanted: int | str) -> Message:
        """The next message with one of these codes, or of these methods; others are passed over."""
        async with asyncio.timeout(_SECONDS):
            while True:
                message = await self._came.get()
                if message.code in wanted if message.code else message.method in wanted:
                    return message

    def via(self) -> tuple[str, str]:
        branch = f"z9hG4bK-{next(_numbers)}"
        return ("Via", f"SIP/2.0/UDP 127.0.0.1:{self.port};branch={branch}")

    def contact(self, user: str) -> tuple[str, str]:
        return ("Contact", f"<sip:{user}@127.0.0.1:{self.port}>")

    def answer(self, request: Message, code: int, reason: str = "-", *, tag: str = "",
               body: str = "", extra: tuple[tuple[str, str], ...] = ()) -> None:  # fmt: skip
        """A response to a request that came."""
        to = request.one("To") + (f";tag={tag}" if tag and "tag=" not in request.one("To") else "")
        same = [(name, value) for name, value in request.fields
                if name in ("Via", "From", "Call-ID", "CSeq", "Record-Route")]  # fmt: skip
        contact = [self.contact("callee")] if code < 400 and code != 302 else []
        self.send(text(f"SIP/2.0 {code} {reason}", [*same, ("To", to), *contact, *extra], body))

    def close(self) -> None:
        self._transport.close()


@dataclass(slots=True)
class Dialog:
    """One call. ``numbers``: who calls whom, and by which domain."""

    caller: Agent
    callee: Agent
    call_id: str
    from_: str
    to: str
    target: str = ""
    uas_target: str = ""
    routes: list[str] = field(default_factory=list)
    cseq: int = 1
    ringing: Message | None = None

    @classmethod
    def between(cls, caller: Agent, callee: Agent, number: str, called: str,
                domain: str = "acme.example") -> Dialog:  # fmt: skip
        call_id = f"d{next(_numbers)}-{number}@127.0.0.1"
        return cls(caller, callee, call_id, f"<sip:{number}@{domain}>;tag=a{next(_numbers)}",
                   f"<sip:{called}@{domain}>", f"sip:{called}@{domain}")  # fmt: skip

    def invite(self, body: str = "", extra: tuple[tuple[str, str], ...] = ()) -> Message:
        """Send the first INVITE. Returns it, as it was sent."""
        sent = text(f"INVITE {self.target} SIP/2.0", [
            self.caller.via(), ("From", self.from_), ("To", self.to), ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} INVITE"), ("Max-Forwards", "70"), self.caller.contact("caller"),
            *extra,
        ], body)  # fmt: skip
        self.caller.send(sent)
        return Message.parse(sent)

    def acknowledge(self, response: Message, invite: Message, body: str = "") -> None:
        """ACK: for a 2xx within the dialog (RFC 3261 §13.2.2.4), else to the proxy (§17.1.1.3)."""
        if (response.code or 0) >= 300:
            head = [("Via", invite.one("Via")), ("From", self.from_), ("To", response.one("To")),
                    ("Call-ID", self.call_id), ("CSeq", f"{self.cseq} ACK"),
                    ("Max-Forwards", "70")]  # fmt: skip
            self.caller.send(text(f"ACK {self.target} SIP/2.0", head))
            return
        self.to = response.one("To")
        self.routes = list(reversed(response.all("Record-Route")))
        self.target = _address(response.one("Contact"))
        self.caller.send(text(f"ACK {self.target} SIP/2.0", [
            self.caller.via(), ("From", self.from_), ("To", self.to), ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} ACK"), ("Max-Forwards", "70"),
            *(("Route", route) for route in self.routes),
        ], body))  # fmt: skip

    async def set_up(self, offer: str, answer: str) -> Self:
        """Answered, by the phone that the lab calls."""
        invite = self.invite(offer)
        came = await self.callee.wait("INVITE")
        self.uas_target = _address(came.one("Contact"))
        self.callee.answer(came, 180, "Ringing", tag=f"b{next(_numbers)}")
        ringing = await self.caller.wait(180)
        tag = ringing.one("To").partition("tag=")[2]
        self.callee.answer(came, 200, "OK", tag=tag, body=answer)
        self.acknowledge(await self.caller.wait(200), invite)
        await self.callee.wait("ACK")
        return self

    def _request(self, by: Agent, method: str, body: str, cseq: int) -> bytes:
        if by is self.caller:
            target, routes, ends = self.target, self.routes, (self.from_, self.to)
        else:
            target, routes, ends = self.uas_target, self.routes[::-1], (self.to, self.from_)
        return text(f"{method} {target} SIP/2.0", [
            by.via(), ("From", ends[0]), ("To", ends[1]), ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"), ("Max-Forwards", "70"),
            *(("Route", route) for route in routes), by.contact("x"),
        ], body)  # fmt: skip

    async def negotiate(self, by: str, method: str, offer: str, answer: str, *, code: int = 200,
                        ack: str = "", early: str = "") -> None:  # fmt: skip
        """A request within the dialog and its answer. Without ``offer``, ``answer`` is the offer of
        the 2xx and ``ack`` answers it; ``early``: an SDP in an 18x before the 2xx."""
        asking, asked = (self.caller, self.callee) if by == "caller" else (self.callee, self.caller)
        self.cseq += 1
        cseq = self.cseq
        sent = self._request(asking, method, offer, cseq)
        asking.send(sent)
        came = await asked.wait(method)
        if early:
            asked.answer(came, 183, "Session Progress", body=early)
            await asking.wait(183)  # or another SIP worker may have the 2xx first
        asked.answer(came, code, body=answer)
        response = await asking.wait(code)
        if method != "INVITE":
            return
        if code < 300:
            asking.send(self._request(asking, "ACK", ack, cseq))
        else:
            head = [("Via", Message.parse(sent).one("Via"))]
            head += [(name, value) for name, value in response.fields
                     if name in ("From", "To", "Call-ID")]  # fmt: skip
            asking.send(text(f"ACK {self.target} SIP/2.0",
                             [*head, ("CSeq", f"{cseq} ACK"), ("Max-Forwards", "70")]))  # fmt: skip
        await asked.wait("ACK")

    def cancel(self, invite: Message) -> None:
        """CANCEL of the first INVITE (RFC 3261 §9.1)."""
        self.caller.send(text(f"CANCEL {self.target} SIP/2.0", [
            ("Via", invite.one("Via")), ("From", self.from_), ("To", self.to),
            ("Call-ID", self.call_id), ("CSeq", f"{self.cseq} CANCEL"), ("Max-Forwards", "70"),
        ]))  # fmt: skip

    async def within(self, early: Message, method: str, extra: tuple[tuple[str, str], ...] = (), *,
                     body: str = "", answer: str = "") -> None:  # fmt: skip
        """A request of the caller in the early dialog that ``early`` made, and its 200."""
        self.cseq += 1
        self.caller.send(text(f"{method} {_address(early.one('Contact'))} SIP/2.0", [
            self.caller.via(), ("From", self.from_), ("To", early.one("To")),
            ("Call-ID", self.call_id), ("CSeq", f"{self.cseq} {method}"), ("Max-Forwards", "70"),
            *(("Route", route) for route in reversed(early.all("Record-Route"))),
            self.caller.contact("caller"), *extra,
        ], body))  # fmt: skip
        self.callee.answer(await self.callee.wait(method), 200, body=answer)
        await self.caller.wait(200)

    async def hang_up(self, by: str = "caller") -> None:
        asking, asked = (self.caller, self.callee) if by == "caller" else (self.callee, self.caller)
        self.cseq += 1
        asking.send(self._request(asking, "BYE", "", self.cseq))
        asked.answer(await asked.wait("BYE"), 200)
        await asking.wait(200)


def _address(contact: str) -> str:
    found = re.search(r"<([^>]+)>", contact)
    assert found is not None
    return found[1]


class Listener:
    """Records the frames that a Kamailio sends on evapi, beside any bridge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.frames: list[Any] = []
        self._writer = writer
        self._task = asyncio.create_task(self._read(reader))

    @classmethod
    async def open(cls, kamailio: Kamailio) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", kamailio.port))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder()
        while piece := await reader.read(65536):
            self.frames += [
                orjson.loads(frame.decode("utf-8", "replace")) for frame in decoder.feed(piece)
            ]

    def of(self, call_id: str) -> list[Any]:
        """The events of one call by their numbers: SIP workers overtake each other by a few."""
        return sorted((f for f in self.frames if f.get("call_id") == call_id),
                      key=lambda frame: int(frame["seq"]))  # fmt: skip

    async def listed(self) -> list[Any]:
        """The frames of a list that is asked for now: its marks, and between them the answer."""
        at = len(self.frames)
        self._writer.write(encode(b'{"jsonrpc":"2.0","method":"dlg.list","id":"listener"}'))
        async with asyncio.timeout(_SECONDS):
            while not any(frame.get("ev") == "snapshot_end" for frame in self.frames[at:]):
                await asyncio.sleep(0.005)
        return [frame for frame in self.frames[at:]
                if "jsonrpc" in frame or str(frame.get("ev")).startswith("snapshot")]  # fmt: skip

    async def close(self) -> None:
        self._writer.close()
        await cancel_and_wait(self._task)


class Stage:
    """``async with Stage(kamailio) as stage``: who listens on evapi, and the agents of a test."""

    def __init__(self, kamailio: Kamailio) -> None:
        self.kamailio = kamailio
        self._agents: list[Agent] = []

    async def __aenter__(self) -> Self:
        self.listener = await Listener.open(self.kamailio)
        return self

    async def agent(self, port: int = 0) -> Agent:
        self._agents.append(await Agent.open(self.kamailio, port))
        return self._agents[-1]

    async def __aexit__(self, *_: object) -> None:
        for agent in self._agents:
            agent.close()
        await self.listener.close()
        await asyncio.sleep(0)
