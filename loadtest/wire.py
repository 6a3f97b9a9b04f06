"""An incremental HTTP/1.1 response parser: bytes in, body bytes out, without blocking.

A general HTTP library costs more per chunk than everything else a watcher does with it.
"""

from __future__ import annotations

import zlib
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"


class BadAnswer(Exception):
    """The response is not HTTP/1.1, or has an unexpected status."""


def request(host: str, path: str, token: str, **headers: str) -> bytes:
    """A GET request; names in ``headers`` have underscores for hyphens."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Answer:
    """One response. ``feed`` returns the body bytes that a piece completes. ``over`` is set after
    the last chunk; ``received`` counts bytes on the wire."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.over = False
        self.received = 0
        self._rest = b""
        self._left: int | None = None  # of a body with a length
        self._chunked = False
        self._inflate: zlib._Decompress | None = None

    def feed(self, piece: bytes) -> bytes:
        self.received += len(piece)
        data = self._rest + piece if self._rest else piece
        if not self.status:
            head, found, data = data.partition(_HEAD_END)
            if not found:
                self._rest = head
                return b""
            self._rest = b""
            self._begin(head)
        body = self._dechunk(data) if self._chunked else self._plain(data)
        if self._inflate is not None and body:
            return self._inflate.decompress(body)
        return body

    def _begin(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        if version != "HTTP/1.1" or not status[:3].isdigit():
            raise BadAnswer(first[:80])
        self.status = int(status[:3])
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self._chunked = self.headers.get("transfer-encoding") == "chunked"
        if "content-length" in self.headers:
            self._left = int(self.headers["content-length"])
        if self.headers.get("content-encoding") == "gzip":
            self._inflate = zlib.decompressobj(31)  # 16 + 15: with gzip's header

    def _plain(self, data: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(data)
            self.over = self._left <= 0
        return data

    def _dechunk(self, data: bytes) -> bytes:
        found = []
        at = 0
        while not self.over:
            line = data.find(b"\r\n", at)
            if line < 0:
                break
            try:
                size = int(data[at:line].partition(b";")[0], 16)
            except ValueError:
                raise BadAnswer(f"chunk size {data[at:line][:20]!r}") from None
            end = line + 2 + size
            if len(data) < end + 2:
                break
            if size == 0:
                self.over = True
            found.append(data[line + 2 : end])
            at = end + 2
        self._rest = data[at:]
        return found[0] if len(found) == 1 else b"".join(found)
