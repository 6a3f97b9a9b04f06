"""A capture lived again: its frames translated, moved to now, at any speed, once or for ever.

It remembers the calls it has told of, so it can answer for its list like the node it was. Pure:
time comes in as milliseconds.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Final

from livestate.bridge.kamailio import BadFrame, KamailioFeed, Message, Outgoing, relived, sync
from livestate.call import Call, begin, evolve
from livestate.diff import record
from livestate.errors import LivestateError
from livestate.events import SUBJECT_PREFIX, CallEvent, parse

HEARTBEAT_MS: Final = 2_000
PAUSE_MS: Final = 3_000  # between two rounds


class BadCapture(LivestateError):
    """A line of a capture that is no frame; ``line`` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


def read(lines: Iterable[str]) -> list[tuple[int, object]]:
    """The frames of a capture with their arrival (ms): one JSON object a line,
    ``{"arrival": unix seconds, "frame": …}``. Raises :class:`BadCapture`."""
    frames = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            frames.append((int(told["arrival"] * 1000), told["frame"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadCapture(number, f"{type(error).__name__}: {error}") from None
    if not frames:
        raise BadCapture(1, "the capture is empty")
    return frames


class Replay:
    """A capture as a source of messages; the same shape as a simulated network."""

    def __init__(
        self,
        frames: list[tuple[int, object]],
        start: int,
        *,
        speed: float = 1.0,
        rounds: int | None = 1,
        keep_times: bool = False,
    ) -> None:
        self.round = 0
        self.told = 0
        self._messages = list(_timed(frames))
        if not self._messages:
            raise BadCapture(1, "no frame of it can be translated")
        self._first = self._messages[0][0]
        self._length = int((self._messages[-1][0] - self._first) / speed)
        self._speed = speed
        self._rounds = rounds
        self._keep_times = keep_times
        self._began = start
        self._at = 0  # in self._messages
        self._seq: dict[str, tuple[int, int]] = {}  # node → epoch as told, last number
        self._calls: dict[tuple[str, str, str], Call] = {}
        self._lists = 0
        self._next_beat = start + HEARTBEAT_MS
        self.nodes = {str(outgoing.message["node"]) for _, outgoing in self._messages}

    @property
    def done(self) -> bool:
        return self._rounds is not None and self.round >= self._rounds

    @property
    def live(self) -> int:
        return sum(call.live for call in self._calls.values())

    @property
    def share(self) -> float:
        """How much of this round has been told, 0 to 1."""
        return self._at / len(self._messages)

    def next_at(self) -> int:
        """When something is due next (ms)."""
        if self.done:
            return self._next_beat
        return min(self._due_at(), self._next_beat)

    def due(self, now: int) -> Iterator[Outgoing]:
        """What was said up to ``now``, moved to this time, in the order it came."""
        while not self.done and self._due_at() <= now:
            yield self._tell(self._messages[self._at][1])
            self._at += 1
            if self._at == len(self._messages):
                self._again()
        if self._next_beat <= now and not self._keep_times:
            # At another speed, and between rounds, the capture's own heartbeats come too seldom.
            self._next_beat = now + HEARTBEAT_MS
            for node in self._seq:
                yield Outgoing(SUBJECT_PREFIX + "heartbeat",
                               self._envelope(node, now) | {"phase": "heartbeat"})  # fmt: skip

    def listing(self, node: str, now: int) -> Iterator[Outgoing]:
        """The list of the node's dialogs as the events so far made them."""
        if node not in self._seq:
            return
        self._lists += 1
        calls: list[Message] = []
        for call in self._calls.values():
            if call.node == node and call.live:
                listed = record(call) | {"dialog": call.dialog, "held": call.state == "held"}
                calls.append({name: told for name, told in listed.items() if name != "unconfirmed"})
        yield from sync(self._envelope(node, now), f"replay-{self._lists}", calls)

    def _due_at(self) -> int:
        offset = self._messages[self._at][0] - self._first
        return self._began + int(offset / self._speed)

    def _tell(self, outgoing: Outgoing) -> Outgoing:
        message = outgoing.message
        if not self._keep_times:
            epoch = message["epoch"] + self._began  # each round numbers anew
            suffix = f"-{self.round}" if self.round else ""
            message = relived(message, self._moved, epoch, suffix)
        self.told += 1
        node, epoch, seq = message["node"], message["epoch"], message["seq"]
        self._seq[node] = max((epoch, seq), self._seq.get(node, (0, 0)))
        event = parse(outgoing.subject, json.dumps(message).encode())
        if isinstance(event, CallEvent) and event.dialog is not None:
            key = (event.node, event.dialog, event.call_id)
            known = self._calls.get(key)
            self._calls[key] = begin("", event) if known is None else evolve(known, event)
        return outgoing._replace(message=message)

    def _moved(self, then: int) -> int:
        return self._began + int((then - self._first) / self._speed)

    def _again(self) -> None:
        self.round += 1
        self._at = 0
        self._calls.clear()
        self._began += self._length + PAUSE_MS

    def _envelope(self, node: str, now: int) -> Message:
        epoch, seq = self._seq[node]
        return {"v": 1, "node": node, "epoch": epoch, "seq": seq, "ts": now}


def _timed(frames: list[tuple[int, object]]) -> Iterator[tuple[int, Outgoing]]:
    """Each message with the arrival of the frame that completed it."""
    feed = KamailioFeed()
    for arrival, frame in frames:
        with contextlib.suppress(BadFrame):  # the bridge counts them; a replay only lives again
            for outgoing in feed.feed(frame):
                yield arrival, outgoing
