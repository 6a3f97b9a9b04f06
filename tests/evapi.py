"""A Kamailio's evapi as a test plays it: what it tells, and when it does not answer, is the test's
to say. What a real one does is in ``tests/e2e``.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, Self

import orjson

from livestate.bridge.kamailio.netstring import Decoder, encode
from livestate.bridge.kamailio.source import ENDS, LIST
from livestate.process.tasks import cancel_and_wait
from tests.harness import now_ms

BEAT_SECONDS: Final = 0.3


class Peer:
    """One node. It numbers its events, beats, lists its dialogs, and keeps the ends of calls until
    a bridge tells it to forget them, whether it published them or not."""

    def __init__(self, name: str = "kam-test-1") -> None:
        self.name = name
        self.epoch = now_ms() // 1000
        self.seq = 0
        self.dialogs: dict[int, dict[str, Any]] = {}  # call → as dlg.list has it
        self.kept: dict[str, str] = {}
        self.counts: dict[str, Any] = {}  # that its heartbeats tell
        self.asked: list[str] = []
        self.keeps = True  # False: a configuration without the htable
        self.lists = True  # False: one without the route that answers
        self.beats = True
        self.port = 0
        self.connected = asyncio.Event()
        self._ends = 0
        self._bridges: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel_and_wait(self._beating)
        self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection there is."""
        for bridge in tuple(self._bridges):
            bridge.transport.abort()

    def restart(self) -> None:
        """As without a database: its calls are gone, and its numbers start again."""
        self.epoch += 1
        self.seq = self._ends = 0
        self.dialogs.clear()
        self.kept.clear()
        self.cut()

    def say(self, kind: str, call: int, **facts: Any) -> None:
        """One event of a call, to the bridges that are connected."""
        frame = self.frame(kind, call, **facts)
        if kind in ("ended", "failed"):
            self.dialogs.pop(call, None)
            self._ends += 1
            if self.keeps:
                frame["kept"] = self._ends
                self.kept[str(self._ends)] = orjson.dumps(frame).decode()
        else:
            self.dialogs[call] = {
                "h_entry": call, "h_id": 1, "call-id": frame["call_id"], "variables": [],
                "state": 4 if kind == "answered" else 2, "from_uri": frame["from_uri"],
                "to_uri": "sip:112@acme.example",
            }  # fmt: skip
        self.send(orjson.dumps(frame))

    def frame(self, kind: str, call: int, **facts: Any) -> dict[str, Any]:
        """The frame of an event; its number counts as used."""
        self.seq += 1
        return self._envelope(kind) | {
            "call_id": f"{call}@{self.name}", "h_entry": call, "h_id": 1,
            "from_uri": f"sip:{call}@acme.example", "ruri_user": "112", "company_id": "101",
        } | facts  # fmt: skip

    def call(self, *calls: int) -> None:
        """Calls from their setup to their answer."""
        for call in calls:
            for kind in ("setup", "ringing", "answered"):
                self.say(kind, call)

    def hang_up(self, *calls: int) -> None:
        for call in calls:
            self.say("ended", call, by="caller")

    def send(self, frame: bytes) -> None:
        self.send_raw(encode(frame))

    def send_raw(self, data: bytes) -> None:
        for bridge in self._bridges:
            bridge.write(data)

    def _envelope(self, kind: str) -> dict[str, Any]:
        now = now_ms()
        more = self.counts if kind == "heartbeat" else {}
        return more | {
            "v": 1,
            "ev": kind,
            "node": self.name,
            "epoch": self.epoch,
            "seq": self.seq,
            "ts": f"{now // 1000}.{now % 1000:03}000",
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._bridges.add(writer)
        self.connected.set()
        decoder = Decoder()
        try:
            with contextlib.suppress(OSError):
                while piece := await reader.read(65536):
                    for question in decoder.feed(piece):
                        self._answer(writer, question)
        finally:
            self._bridges.discard(writer)
            writer.transport.abort()

    def _answer(self, writer: asyncio.StreamWriter, question: bytes) -> None:
        request = orjson.loads(question)
        self.asked.append(request["method"])
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        if question == LIST and self.lists:
            for frame in (self._envelope("snapshot_begin"),
                          answer | {"result": list(self.dialogs.values())},
                          self._envelope("snapshot_end")):  # fmt: skip
                writer.write(encode(orjson.dumps(frame)))
        elif question == ENDS and self.keeps:
            slots = [{"name": name, "value": value} for name, value in self.kept.items()]
            result = [{"entry": 0, "size": len(slots), "slot": slots}] if slots else []
            writer.write(encode(orjson.dumps(answer | {"result": result})))
        elif question == ENDS:
            error = {"code": -32000, "message": "Execution Error"}
            writer.write(encode(orjson.dumps(answer | {"error": error})))
        elif request["method"] == "htable.delete":
            self.kept.pop(request["params"][1], None)

    async def _beat(self) -> None:
        while True:
            if self.beats:
                self.send(orjson.dumps(self._envelope("heartbeat")))
            await asyncio.sleep(BEAT_SECONDS)
