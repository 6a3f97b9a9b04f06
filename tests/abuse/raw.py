"""HTTP by hand: sends bytes as they are, and returns the answer as it came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from tests.harness import STREAM

SNAPSHOT = STREAM + "/snapshot"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """Status 0: the connection was closed without a word."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, head: bytes, body: bytes = b"") -> Self:
        line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = [field.partition(":") for field in fields]
        values = {name.lower(): value.strip() for name, _, value in pairs}
        return cls(int(line.split(" ")[1]), values, body) if line else cls(0, {}, b"")


def get(path: str, *headers: str, method: str = "GET", host: str = "x") -> bytes:
    """A whole request; ``headers`` are lines."""
    lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", "")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def as_(token: str) -> str:
    return f"Authorization: Bearer {token}"


@contextlib.asynccontextmanager
async def connection(
    port: int, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket, thrown away at the end without a goodbye."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(
    port: int, request: bytes, *, source: str = "127.0.0.1", seconds: float = 5
) -> Answer:
    """The answer to one request: its head, and its body where it has a length."""
    try:
        async with asyncio.timeout(seconds), connection(port, source) as (reader, writer):
            writer.write(request)
            answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            if answer.status == 100:
                answer = Answer.of(await reader.readuntil(b"\r\n\r\n"))
            bodiless = request.startswith(b"HEAD") or answer.status == 304
            length = 0 if bodiless else int(answer.headers.get("content-length", 0))
            return Answer(answer.status, answer.headers, await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return Answer.of(b"")


async def first_event(port: int, request: bytes) -> tuple[int, bytes]:
    """The status of a stream, and its bytes up to its first data."""
    async with asyncio.timeout(5), connection(port) as (reader, writer):
        writer.write(request)
        head = Answer.of(await reader.readuntil(b"\r\n\r\n"))
        return head.status, await reader.readuntil(b"\ndata: ") if head.status == 200 else b""


async def until_closed(port: int, *pieces: bytes, every: float = 1.0) -> float:
    """How many seconds a connection lives that sends these pieces, one ``every`` so long, and then
    nothing more."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(30), connection(port) as (reader, writer):

        async def dribble() -> None:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(every)

        dribbling = asyncio.create_task(dribble())
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        dribbling.cancel()
    return loop.time() - began
