"""One stream as its client sees it: every event with its time of arrival, folded and compared.

An observation never judges: :mod:`livestate.conformance.checks` reads what it recorded.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson

from livestate.client import Fold, Parser

HEAD_BYTES: Final = 2_048  # of the body, kept as they came
_CODES: Final = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True)
class Seen:
    """An event: its arrival on the steady clock, s, and on the wall clock, ms."""

    name: str
    id: str
    data: dict[str, Any]
    at: float
    wall_ms: float
    data_bytes: int


@dataclass(slots=True)
class Observation:
    """``await observation.read(client, until)``; what it saw is in the fields."""

    url: str
    headers: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    fold: Fold = field(default_factory=Fold)  # a fold from before makes it a resumption
    status: int = 0
    response: dict[str, str] = field(default_factory=dict)  # its headers
    opened_at: float = 0.0
    responded_at: float = 0.0
    ended: str | None = None  # how it ended by itself
    head: bytes = b""
    events: list[Seen] = field(default_factory=list)
    garbage: list[str] = field(default_factory=list)  # data that is no JSON object
    disagreements: list[str] = field(default_factory=list)  # heartbeats against the fold
    agreements: int = 0
    differences: list[str] = field(default_factory=list)  # records against the JSON snapshot
    compared: int = 0  # records

    async def read(
        self, client: httpx.AsyncClient, until: Callable[[Observation], bool], seconds: float
    ) -> None:
        """Read until ``until(self)``, for ``seconds`` at most, or until the stream ends."""
        self.opened_at = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._read(client, until)
        except TimeoutError:
            pass  # long enough
        except (httpx.HTTPError, zlib.error) as error:
            self.ended = f"{type(error).__name__} {error}".strip()

    async def _read(self, client: httpx.AsyncClient, until: Callable[[Observation], bool]) -> None:
        asking = client.stream("GET", self.url, params=dict(self.params), headers=self.headers)
        async with asking as response:
            self.responded_at = time.monotonic()
            self.status = response.status_code
            self.response = dict(response.headers)
            parser = Parser()
            code = response.headers.get("content-encoding", "")
            unpack = zlib.decompressobj(_CODES[code]).decompress if code in _CODES else bytes
            async for piece in response.aiter_raw():
                body = unpack(piece)
                self.head += body[: max(0, HEAD_BYTES - len(self.head))]
                for event in parser.feed(body):
                    self._take(event.name, event.id, event.data)
                if until(self):
                    return
            self.ended = "the response ended"

    def _take(self, name: str, position: str, raw: bytes) -> None:
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError:
            data = None
        if not isinstance(data, dict):
            self.garbage.append(f"the data of a {name} is no JSON object: {raw[:60]!r}")
            return
        self.events.append(
            Seen(name, position, data, time.monotonic(), time.time() * 1000, len(raw))
        )
        try:
            self.fold.apply(name, data, position)
            if name == "heartbeat":
                self._compare_heartbeat(data)
        except (KeyError, TypeError) as error:
            self.garbage.append(f"a {name} lacks a field: {error!r}")

    def _compare_heartbeat(self, heartbeat: dict[str, Any]) -> None:
        fold = self.fold
        if not fold.complete:
            self.disagreements.append("a heartbeat came before a complete snapshot")
        elif not fold.agrees(heartbeat):
            self.disagreements.append(
                f"version {heartbeat['version']}: the service has {heartbeat['calls']} calls with "
                f"digest {heartbeat['digest']}, the stream made {len(fold.calls)} with "
                f"{fold.digest}"
            )
        else:
            self.agreements += 1

    def compare(self, snapshot: dict[str, Any]) -> None:
        """Hold the JSON snapshot against the fold: records of one version must be the same, and at
        one id the two have the same calls. The moments differ otherwise, so other records may."""
        theirs, mine = snapshot["calls"], self.fold.calls
        for key, record in theirs.items():
            known = mine.get(key)
            if known is None or known.get("v") != record.get("v"):
                continue
            self.compared += 1
            if known != record:
                fields = [
                    name
                    for name in known.keys() | record.keys()
                    if known.get(name) != record.get(name)
                ]
                self.differences.append(
                    f"call {key} at v {record['v']}: "
                    + ", ".join(
                        f"{name} is {known.get(name)!r} on the stream and "
                        f"{record.get(name)!r} in the snapshot"
                        for name in sorted(fields)
                    )
                )
        if snapshot["id"] == self.fold.last_id and theirs.keys() != mine.keys():
            self.differences.append(
                f"at {snapshot['id']}: {len(theirs.keys() - mine.keys())} calls of the snapshot "
                f"are not on the stream, {len(mine.keys() - theirs.keys())} only there"
            )

    def named(self, *names: str) -> list[Seen]:
        return [one for one in self.events if one.name in names]
