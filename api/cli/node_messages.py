"""``livestate doctor``: whether the messages of the nodes arrive and are valid."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from nats.aio.msg import Msg

from api.cli.finding import Finding
from api.cli.node_survey import Hearsay
from livestate.contract.errors import Rejected
from livestate.contract.events import BATCH_SUBJECT, Sync
from livestate.contract.node_name import node_name_problem
from livestate.contract.parse import BadEvent, parse, parse_batch
from livestate.contract.subjects import Subjects, Vouched
from livestate.process.clock import now_ms

LISTEN_SECONDS: Final = 3.0  # a node sends a heartbeat every 2 s
_NAMED: Final = re.compile(rb'"node"\s*:\s*"([^"\\]*)"')


class NodeMessages:
    """Collects messages, and judges what came."""

    def __init__(self, heard: Hearsay, subjects: Subjects) -> None:
        self.heard = heard
        self.subjects = subjects
        self.nodes: Counter[str] = Counter()  # valid messages by node
        self.invalid: list[str] = []
        self.bad_names: list[str] = []  # why node names are invalid
        self.rejected_items: list[str] = []  # rejected calls of lists

    async def on_message(self, message: Msg) -> None:
        try:
            vouched = self.subjects.of(message.subject)
            if vouched.subject == BATCH_SUBJECT:
                self._take_batch(message.data, vouched)
                return
            event = parse(vouched.subject, message.data)
            self.subjects.check(vouched, event.node)
        except Rejected as rejected:
            self._reject(message.data, rejected)
            return
        self.nodes[event.node] += 1
        if event.phase == "heartbeat":
            self.heard.beat(event.node, event.epoch, event.seq, event.ts, now_ms())
        if isinstance(event, Sync):
            self.rejected_items.extend(f"{event.node}: {item.detail}" for item in event.refused)
            if event.unlisted:
                unlisted = f"{event.node} could not list {event.unlisted} dialogs"
                self.rejected_items.append(unlisted)

    def _take_batch(self, data: bytes, vouched: Vouched) -> None:
        for event in parse_batch(data):
            if isinstance(event, BadEvent):
                self._reject(event.data, event.rejected)
                continue
            self.subjects.check(vouched, event.node)
            self.nodes[event.node] += 1

    def _reject(self, data: bytes, rejected: Rejected) -> None:
        named = _NAMED.search(data, 0, 4_096)
        name = named[1].decode("utf-8", "replace") if named else ""
        if self.heard.refuse(name[:80], rejected):
            return  # reported once per node
        self.invalid.append(str(rejected))
        problem = node_name_problem(name) if named else None
        if problem is not None:
            self.bad_names.append(problem)

    def finding(self, where: str) -> Finding:
        """The most important of all that was seen."""
        if self.bad_names:
            return Finding(
                "bad", f"{where}: {self.bad_names[0]}", "no call of this node is shown until then"
            )
        if self.rejected_items:
            items = self.rejected_items
            return Finding(
                "odd",
                f"{where}: {len(items)} calls of lists are rejected, each alone: {items[0][:200]}",
                "`livestate bridge --check` beside that node says more",
            )
        if self.invalid:
            return Finding(
                "odd",
                f"{where}: {len(self.invalid)} messages not of the contract: {self.invalid[0]}",
                "compare the bridge with `livestate schema`",
            )
        if self.nodes:
            return Finding("good", f"{where}: {', '.join(sorted(self.nodes)[:5])} send events")
        if self.heard.unusable:
            return Finding("odd", f"{where}: nodes send messages, but none with a usable numbering")
        return Finding(
            "odd",
            f"{where}: no node sent a message in {LISTEN_SECONDS:.0f} s",
            "a node sends a heartbeat every 2 s: is a bridge running? "
            "`livestate simulate` simulates one",
        )
