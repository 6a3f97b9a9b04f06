"""Calls for property tests: real ones of the captures, and invented ones with every oddity."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from hypothesis import strategies as st

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.contract.events import CallEvent
from livestate.contract.messages import Outgoing
from livestate.contract.parse import parse
from livestate.devtools.replay import read

CAPTURES = files("livestate.devtools") / "captures"
START = 1_795_000_000_000
CALL_PHASES = ("setup", "ringing", "early_media", "reroute", "answered", "hold", "resume",
               "transfer", "notice", "ended", "failed")  # fmt: skip


def capture_names() -> list[str]:
    names = [path.name for path in CAPTURES.iterdir() if path.name.endswith(".jsonl")]
    probes = [f"probes/{path.name}" for path in (CAPTURES / "probes").iterdir()]
    return sorted(names + probes)


@cache
def messages(name: str) -> tuple[Outgoing, ...]:
    """Everything a capture says, in the contract."""
    path = CAPTURES
    for part in name.split("/"):
        path = path / part
    feed = KamailioFeed()
    frames = read(path.read_text(errors="replace").splitlines())
    return tuple(out for _, frame in frames for out in feed.feed(frame))


@cache
def real_calls() -> tuple[tuple[CallEvent, ...], ...]:
    """The events of each call of every capture that had a dialog, in the node's order."""
    found: dict[tuple[str, str, str, str], list[CallEvent]] = {}
    for name in capture_names():
        for out in messages(name):
            event = parse(out.subject, orjson.dumps(out.message))
            if isinstance(event, CallEvent) and event.dialog is not None:
                identity = (name, event.node, event.dialog, event.call_id)
                found.setdefault(identity, []).append(event)
    return tuple(tuple(sorted(one, key=lambda e: (e.epoch, e.seq))) for one in found.values())


def event(phase: str, seq: int, **fields: Any) -> CallEvent:
    """One event of the contract."""
    message = {"v": 1, "phase": phase, "node": "n1", "epoch": 1, "seq": seq, "ts": START + seq,
               "call_id": "c1", "dialog": "1.1"} | fields  # fmt: skip
    parsed = parse(f"call.events.{phase}", orjson.dumps(message))
    assert isinstance(parsed, CallEvent)
    return parsed


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "company_id": st.sampled_from(["101", "102", "0101"]),
        "direction": st.sampled_from(["inbound", "outbound", "internal"]),
        "from": TEXTS, "to": TEXTS, "trunk": st.sampled_from(["gw-a", "gw-b"]),
        "attempt": st.integers(1, 3), "setup_at": st.just(START),
        "progress_at": st.just(START + 5), "answered_at": st.just(START + 9),
        "ended_at": st.integers(START + 10, START + 12), "sip_code": st.integers(100, 699),
        "by": st.sampled_from(["caller", "callee", "proxy"]),
        "outcome": st.sampled_from(["answered", "busy", "expired", "failed"]), "detail": TEXTS,
        "mos": st.sampled_from([1, 3.25, 4.4]), "jitter_ms": st.floats(0, 65_535),
        "loss_pct": st.sampled_from([0, 0.5, 100]),
    },
)  # fmt: skip


@st.composite
def invented_calls(draw: st.DrawFn) -> tuple[CallEvent, ...]:
    """One call's events in its node's order: any phases, facts that come and go, two epochs."""
    phases = draw(st.lists(st.sampled_from(CALL_PHASES), min_size=1, max_size=7))
    epochs = sorted(draw(st.lists(st.integers(1, 2), min_size=len(phases), max_size=len(phases))))
    return tuple(
        event(phase, seq, epoch=epoch, **draw(FACTS))
        for seq, (phase, epoch) in enumerate(zip(phases, epochs, strict=True), 1)
    )
