"""Replays a capture of Kamailio frames: translated, moved to now, at any speed, once or repeatedly.

``livestate replay``, the demo and many tests use it as a source of messages. It folds what it
sends, events and lists, as the service does. So each node of the capture can send its list at any
time, also after the last frame: a call that is up at the end of a capture stays up. Pure:
times are arguments in ms.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Final

from livestate.bridge.kamailio.translation import BadFrame, KamailioFeed
from livestate.contract.encoding import Unsendable, encoded
from livestate.contract.errors import LivestateError, Rejected
from livestate.contract.events import SUBJECT_PREFIX, Copies, Heartbeat, Lost
from livestate.contract.messages import Message, Outgoing, relived, sync
from livestate.contract.parse import parse
from livestate.devtools.replayed_node import ReplayedNode

HEARTBEAT_MS: Final = 2_000
PAUSE_MS: Final = 3_000  # between two rounds


class BadCapture(LivestateError):
    """A line of a capture is not a frame; ``line`` counts from 1."""

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
            record = json.loads(line)
            frames.append((int(record["arrival"] * 1000), record["frame"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadCapture(number, f"{type(error).__name__}: {error}") from None
    if not frames:
        raise BadCapture(1, "the capture is empty")
    return frames


class Replay:
    """A capture as a :class:`~livestate.devtools.publisher.Source`.

    ``start`` (ms) is when its first frame is due. ``speed`` 2 replays twice as fast. ``rounds``
    None repeats it without end. ``keep_times`` leaves times, epochs and Call-IDs as captured.
    """

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
        self.sent = 0  # messages so far
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
        self._nodes: dict[str, ReplayedNode] = {}  # those that have sent something
        self._lists = 0
        self._next_beat = start + HEARTBEAT_MS
        self.nodes = {str(outgoing.message["node"]) for _, outgoing in self._messages}

    @property
    def done(self) -> bool:
        """Whether all rounds are over."""
        return self._rounds is not None and self.round >= self._rounds

    @property
    def live(self) -> int:
        """How many calls are up."""
        return sum(node.live for node in self._nodes.values())

    @property
    def progress(self) -> float:
        """The share of this round that has been sent, 0 to 1."""
        return self._at / len(self._messages)

    def next_at(self) -> int:
        """When something is due next (ms)."""
        if self.done:
            return self._next_beat
        return min(self._due_at(), self._next_beat)

    def due(self, now: int) -> Iterator[Outgoing]:
        """The messages that are due up to ``now``, in the order of the capture."""
        while not self.done and self._due_at() <= now:
            yield self._moved_message(self._messages[self._at][1])
            self._at += 1
            if self._at == len(self._messages):
                self._next_round()
        if self._next_beat <= now and not self._keep_times:
            # At another speed and between rounds, the heartbeats in the capture are too rare.
            self._next_beat = now + HEARTBEAT_MS
            for node in self._nodes:
                heartbeat = self._envelope(node, now) | {"phase": "heartbeat"}
                yield Outgoing(SUBJECT_PREFIX + "heartbeat", heartbeat)

    def listing(self, node: str, now: int) -> Iterator[Outgoing]:
        """The node's list of dialogs after its messages so far. Nothing while it is unknown which
        calls survived a restart of the node (:meth:`ReplayedNode.calls`)."""
        played = self._nodes.get(node)
        calls = played.calls() if played is not None else None
        if calls is not None:
            self._lists += 1
            yield from sync(self._envelope(node, now), f"replay-{self._lists}", calls)

    def _due_at(self) -> int:
        offset = self._messages[self._at][0] - self._first
        return self._began + int(offset / self._speed)

    def _moved_message(self, outgoing: Outgoing) -> Outgoing:
        message = outgoing.message
        if not self._keep_times:
            epoch = message["epoch"] + self._began  # each round is a restart
            suffix = f"-{self.round}" if self.round else ""
            message = relived(message, self._moved, epoch, suffix)
        self.sent += 1
        outgoing = outgoing._replace(message=message)
        self._fold(outgoing)
        return outgoing

    def _fold(self, outgoing: Outgoing) -> None:
        message = outgoing.message
        name = message["node"]
        node = self._nodes.get(name)
        if node is None or (node.round != self.round and not self._keep_times):
            node = self._nodes[name] = ReplayedNode(name, self.round)
        node.number(message["epoch"], message["seq"], message["ts"])
        # The publisher counts what it cannot send; the state here does not change.
        with contextlib.suppress(Rejected, Unsendable):
            for data in encoded(outgoing):
                event = parse(outgoing.subject, data)
                if not isinstance(event, Heartbeat | Lost | Copies):
                    node.fold(event, message["ts"])

    def _moved(self, then: int) -> int:
        return self._began + int((then - self._first) / self._speed)

    def _next_round(self) -> None:
        self.round += 1
        self._at = 0
        self._began += self._length + PAUSE_MS

    def _envelope(self, node: str, now: int) -> Message:
        played = self._nodes[node]
        return {"v": 1, "node": node, "epoch": played.epoch, "seq": played.seq, "ts": now}


def _timed(frames: list[tuple[int, object]]) -> Iterator[tuple[int, Outgoing]]:
    """Each message with the arrival of the frame that completed it."""
    feed = KamailioFeed()
    for arrival, frame in frames:
        with contextlib.suppress(BadFrame):  # the bridge counts them; a replay skips them
            for outgoing in feed.feed(frame):
                yield arrival, outgoing
