"""``GET /api/v1/live/calls/snapshot``: the view as one JSON document, made in slices.

A document of 50,000 calls is 20 MB. It is encoded a few milliseconds a round of the loop, from a
list of calls that is taken at once, and is sent piece by piece, so a client that reads slowly
holds one document and no copies. Clients that read the same version share it. How many large
documents may be on their way is bounded, per instance and per user; small ones are not counted.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from quart import Response

from api.http.problem import problem
from api.stream import sse
from livestate.fanout import patch
from livestate.fanout.producer import Encoder
from livestate.process.slices import SLICE_SECONDS
from livestate.state.access import Scope
from livestate.state.view import View

PIECE_BYTES: Final = 48 * 1024
SENT_AT_ONCE: Final = 4  # pieces
LARGE: Final = 1_000  # calls; a document of less is less than half a megabyte
READ_SECONDS: Final = 60  # then a client that has not read its document is cut off


class SnapshotHub(Protocol):
    """Where views and their encoded records come from: :class:`~livestate.fanout.hub.Hub`, or
    :class:`~livestate.cluster.served_hub.ServedHub`."""

    @property
    def encoder(self) -> Encoder: ...
    def view(self, scope: Scope) -> View: ...
    async def prepare(self, scope: Scope) -> bool: ...
    def release(self, view: View) -> None: ...


class _Document:
    """The calls of one view at one version, as pieces of JSON. Kept while a client reads it."""

    __slots__ = ("__weakref__", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []


class _Reader:
    """One client that reads a large document. Lives as long as its response."""


class Snapshots:
    """The documents on their way. ``most`` and ``most_per_user`` are of large ones."""

    def __init__(
        self,
        hub: SnapshotHub,
        clock: Callable[[], int],
        *,
        most: int,
        most_per_user: int,
    ) -> None:
        self.open = 0
        self.refused = 0
        self._hub = hub
        self._clock = clock
        self._most = most
        self._most_per_user = most_per_user
        self._of_user: Counter[str] = Counter()
        self._documents: weakref.WeakValueDictionary[tuple[str, int], _Document] = (
            weakref.WeakValueDictionary()
        )

    async def response(self, subject: str, scope: Scope) -> Response:
        """The document of this moment; 429 or 503 with ``Retry-After`` where the user, or all
        users, have too many large ones on their way."""
        if not await self._hub.prepare(scope):
            return problem(503, "The calls of this view are not here yet.", {"Retry-After": "1"})
        view, records = self._hub.view(scope), self._hub.encoder.records
        reader = None
        try:
            if view.live >= LARGE:
                if self._of_user[subject] >= self._most_per_user:
                    return self._refuse(429, "You are reading as many snapshots as a user may.")
                if self.open >= self._most:
                    return self._refuse(503, "Too many snapshots are being read.")
                reader = self._counted(subject)
            event_id = sse.EventId(view.tag, view.version)
            head = b'{"id":"%b","version":%d,"as_of":%d,"digest":%d,"calls":{' % (
                sse.write_id(event_id),
                view.version,
                self._clock(),
                view.digest,
            )
            document = self._documents.get(event_id)
            rows = view.cut() if document is None else iter(())
        finally:
            self._hub.release(view)
        if document is None:
            document = _Document()
            began = time.perf_counter()
            for piece in patch.bodies(rows, records, PIECE_BYTES):
                document.pieces.append(piece)
                if time.perf_counter() - began > SLICE_SECONDS:
                    await asyncio.sleep(SLICE_SECONDS)  # as much for the others
                    began = time.perf_counter()
            self._documents[event_id] = document
        if reader is None:
            body = head + b",".join(document.pieces) + b"}}"
            return Response(body, content_type="application/json")
        size = len(head) + sum(map(len, document.pieces)) + len(document.pieces) - 1 + 2
        response = Response(
            _sent(head, document, reader),
            content_type="application/json",
            headers={"Content-Length": str(size)},
        )
        response.timeout = READ_SECONDS
        return response

    def _counted(self, subject: str) -> _Reader:
        self.open += 1
        self._of_user[subject] += 1
        reader = _Reader()
        weakref.finalize(reader, self._left, subject)
        return reader

    def _left(self, subject: str) -> None:
        self.open -= 1
        self._of_user[subject] -= 1
        if not self._of_user[subject]:
            del self._of_user[subject]

    def _refuse(self, status: int, reason: str) -> Response:
        self.refused += 1
        return problem(status, reason, {"Retry-After": "1"})


async def _sent(head: bytes, document: _Document, reader: _Reader) -> AsyncIterator[bytes]:
    """The document, piece by piece. ``reader`` is held until the last one is sent, or the client
    has gone: that is what counts it."""
    yield head
    for index, piece in enumerate(document.pieces):
        yield b"," + piece if index else piece
        if index % SENT_AT_ONCE == SENT_AT_ONCE - 1:  # a quick reader would never make it wait
            await asyncio.sleep(SLICE_SECONDS / 4)
    yield b"}}"
