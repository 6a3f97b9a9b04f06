"""Bad input from the inside: what a broken or hostile node says on NATS, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from typing import Any

import orjson
import pytest

from api.cli.child_service import Instance
from livestate.contract.validation import MAX_DISPLAY_CHARS
from tests.abuse.raw import SNAPSHOT, as_, ask, get
from tests.conftest import World
from tests.harness import STREAM, Node, Stream, agrees, metrics, now_ms, snapshot

REJECTED = re.compile(r'livestate_events_rejected_total\{reason="(\w+)"\}')


def rejects(counted: dict[str, float]) -> Counter[str]:
    """How many messages were rejected, by reason."""
    found = {name: REJECTED.fullmatch(name) for name in counted}
    return Counter({match[1]: int(counted[name]) for name, match in found.items() if match})


def message(node: Node, phase: str = "setup", /, **changes: Any) -> bytes:
    """An event with the node's next number; ``...`` takes a field away."""
    node.seq += 1
    fields = {"phase": phase, "call_id": f"x@{node.name}", "dialog": f"{node.seq}.x"}
    fields = {**node.envelope(), **fields, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


async def counted_as(
    service: Instance, node: Node, sent: list[tuple[str, str, bytes]]
) -> dict[str, float]:
    """Say (why, subject, data) each, then a good call: it is shown, and each of the others is
    rejected for its reason, if need be after it: a flood of no node waits in a queue of its own.
    The metrics of then."""
    before = rejects(await metrics(service))
    for _, subject, data in sent:
        await node.client.publish(subject, data)
    await node.client.flush()
    good = f"good-{now_ms()}"
    async with await Stream.open(service.url, service.token()) as stream:
        await node.call(good)
        await stream.until(lambda s: f"{good}@{node.name}" in s.states)
        await agrees(service, stream, service.token())
    await node.say("ended", good)
    wanted = Counter(why for why, _, _ in sent if why)
    after = await metrics(service)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while (rejects(after) - before).total() < wanted.total():
                await asyncio.sleep(0.1)
                after = await metrics(service)
    assert rejects(after) - before == wanted
    received = sum(n for name, n in after.items() if "events_received_total" in name)
    assert received == sum(n for name, n in after.items() if "livestate_events_total" in name)
    return after


async def test_what_is_no_event_is_rejected_with_its_reason_and_the_next_good_one_is_applied(
    service: Instance, node: Node
) -> None:
    setup = "call.events.setup"
    await node.list()
    bodies = [
        ("not_json", b""), ("not_json", b"{"), ("not_json", b"\xff\xfe{}"), ("wrong_type", b"NaN"),
        ("not_json", message(node)[:-40]), ("not_json", b"[" * 10_000),
        ("not_json", b"{" + b'"a":' * 50_000), ("not_json", b"\x1f\x8b\x08" + b"x" * 99),
        ("phase_mismatch", message(node).replace(b'"setup"', b"NaN")),
        ("wrong_type", message(node, epoch=float("nan"))),
        ("wrong_type", message(node, ts=0.5).replace(b": 0.5", b": 1e999")),
        ("not_json", message(node).replace(b'"x@', b'"\xc3\x28@')),
        ("not_json", message(node).replace(b'"x@', b'"\x00@')),
        ("too_large", b'{"from":"' + b"x" * 900_000 + b'"}'), ("wrong_type", b"null"),
        ("wrong_type", b"[]"), ("wrong_type", b'"setup"'), ("wrong_type", b"7"),
        ("missing_field", b"{}"), ("missing_field", message(node, call_id=...)),
        ("missing_field", message(node, ts=...)), ("unsupported_version", message(node, v=2)),
        ("unsupported_version", b'{"phase":"setup","v":1e999}'),
        ("duplicate_keys", message(node)[:-1] + b',"call_id":"y"}'),
        ("duplicate_keys", message(node)[:-1] + b',"z":1,"z":2}'),
        ("out_of_range", message(node, epoch=2**53)), ("out_of_range", message(node, seq=-1)),
        ("out_of_range", message(node, seq=2**64)), ("out_of_range", message(node, seq=10**400)),
        ("out_of_range", message(node, node="a b")), ("out_of_range", message(node, node="")),
        ("out_of_range", message(node, direction="sideways")),
        ("wrong_type", message(node, seq="9")), ("wrong_type", message(node, seq=1.5)),
        ("wrong_type", message(node, seq=True)), ("wrong_type", message(node, call_id=["x"])),
        ("wrong_type", message(node, **{"from": {"a": 1}})),
        ("phase_mismatch", message(node, "ended")), ("phase_mismatch", message(node, "nope")),
        # Text for people cannot hide a call, and neither can a node's clock, however wrong.
        ("", message(node, **{"from": "x" * 10_000})), ("", message(node, **{"to": "\ud800"})),
        ("", message(node, ts=now_ms() // 1000)), ("", message(node, ts=-1)),
        ("", message(node, ts=0)), ("", message(node, ts=253_402_300_799_999)),
        ("out_of_range", message(node, setup_at=7)), ("wrong_type", message(node, ts="now")),
        ("wrong_type", message(node, ts=now_ms() + 0.5)), ("not_json", b'{"ts":1e9999,'),
    ]  # fmt: skip
    await counted_as(service, node, [(why, setup, data) for why, data in bodies])


async def test_subjects_are_an_allow_list(service: Instance, node: Node) -> None:
    """The server delivers a literal ``*`` or ``>``; we do not take it for a phase."""
    strange = ["*", ">", "ringing.extra", "RINGING", "Setup", "setup\u200b", "setup.>", "nope",
               "\u202egnitgnir", "setup.setup", "x" * 4_000, "a." * 1_000 + "a",
               "{phase}"]  # fmt: skip
    sent = [("unknown_phase", f"call.events.{name}", message(node)) for name in strange]
    await counted_as(service, node, sent)


async def test_a_flood_makes_no_new_labels_and_few_lines_of_log(
    service: Instance, node: Node
) -> None:
    """Thirty thousand strange messages: metrics have the labels they had, the log some lines."""
    before = await metrics(service)
    lines = len(service._log.read_text().splitlines())
    flood: list[tuple[str, str, bytes]] = []
    for n in range(10_000):
        flood += [("unknown_phase", f"call.events.phase-{n}.{n}", b"{}"),
                  ("phase_mismatch", "call.events.setup", b'{"v":1,"phase":"odd-%d"}' % n),
                  ("not_json", "call.events.ended", b"\x00\n%d\r\n" % n)]  # fmt: skip
    after = await counted_as(service, node, flood)
    new = after.keys() - before.keys()  # nodes of other tests may be forgotten meanwhile
    assert not [sample for sample in new if "{" in sample and node.name not in sample]
    logged = service._log.read_text().splitlines()[lines:]
    assert len([line for line in logged if "livestate.pipeline" in line]) <= 15, logged
    assert all("\x00" not in line and len(line) < 500 for line in logged)


HOSTILE = {
    "an event": "x\n\nevent: goodbye\ndata: {}\n\n", "CR LF": "a\r\nid: 0\r\n\r\n", "CR": "a\rb",
    "NUL": "a\0b", "U+2028": "a\u2028b\u2029c", "NEL": "a\u0085b", "BOM": "\ufeffa",
    "RTL": "\u202egnp.exe\u2066", "surrogate": "a\ud800b", "script": "<script>alert(1)</script>",
    "image": "<img src=x onerror=alert(1)>", "JSON": '","state":"ended","x":"', "escape": "\\u0000",
    "ANSI": "\x1b[2J\x1b]0;x\x07", "emoji": "\U0001f4de" * 300, "template": "${7*7}{{7*7}}",
    "zero width": "a\u200bb\u2060", "close": "</script><!--", "formula": "=cmd|' /C calc'!A0",
}  # fmt: skip


TEXTS = ("from", "to", "from_uri", "to_uri", "sip_reason", "detail")
LINE = re.compile(
    rb"(|retry: \d+|event: (snapshot|diff|heartbeat|kpi)|id: [0-9a-f]{16}-\d+"
    rb'|data: \{"[^\r]*\})'
)


def kept(text: str) -> str:
    """The text as livestate stores it: cut to a length, without half characters."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole[:MAX_DISPLAY_CHARS]


async def test_what_a_caller_writes_is_one_line_of_json_and_the_same_text_again(
    service: Instance, node: Node
) -> None:
    company = f"texts-{node.name}"
    token = service.token("user", company_id=company)
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.dashboard.complete)
        for number, text in enumerate(HOSTILE.values()):
            texts = dict.fromkeys(TEXTS, text)
            data = message(node, company_id=company, call_id=f"{number}", **texts)
            await node.client.publish("call.events.setup", data)
        await stream.until(lambda s: len(s.dashboard.calls) == len(HOSTILE))
        await agrees(service, stream, token)
        for line in bytes(stream.body).split(b"\n"):
            assert LINE.fullmatch(line), line
        shown = {one["call_id"]: one for one in stream.dashboard.calls.values()}
    again = orjson.loads((await ask(service.port, get(SNAPSHOT, as_(token)))).body)["calls"]
    for number, text in enumerate(HOSTILE.values()):
        for field in TEXTS:
            assert shown[f"{number}"][field] == kept(text)
    assert {one["call_id"]: one["from"] for one in again.values()} == {
        name: one["from"] for name, one in shown.items()
    }


async def test_a_call_id_is_bounded_and_encoded(service: Instance, node: Node) -> None:
    company = f"ids-{node.name}"
    good = ["a b", "...", "a.b>c*", "{x}", '"', "\\", "\u2028", "\0", "a\r\nb", "/../../x",
            "\U0001f9e8", "x" * 512, "%00", "constructor", "__proto__"]  # fmt: skip
    sent = [("", "call.events.setup", message(node, call_id=one, company_id=company))
            for one in good]  # fmt: skip
    bad = [("out_of_range", {"call_id": ""}), ("too_long", {"call_id": "x" * 10_000}),
           ("too_long", {"dialog": "d" * 65}), ("out_of_range", {"dialog": ""}),
           ("too_long", {"company_id": "c" * 65}), ("too_long", {"trunk": "t" * 65})]  # fmt: skip
    sent += [(why, "call.events.setup", message(node, **fields)) for why, fields in bad]
    await counted_as(service, node, sent)
    token = service.token("user", company_id=company)
    current = await snapshot(service, token)
    assert Counter(one["call_id"] for one in current["calls"].values()) == Counter(good)
    for key, one in current["calls"].items():
        assert re.fullmatch(r"[A-Za-z0-9_-]{16}", key)  # the key tells nothing of it
        story = await ask(service.port, get(f"{STREAM}/{key}", as_(token)))
        assert orjson.loads(story.body)["call_id"] == one["call_id"]


async def test_order_comes_from_the_nodes_numbers_whatever_its_clock_says(
    service: Instance, node: Node
) -> None:
    company = f"clocks-{node.name}"
    token = service.token("user", company_id=company)
    far, long_ago = 4_102_444_800_000, 946_684_800_000
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.dashboard.complete)
        for phase, ts in (("setup", far), ("ringing", long_ago), ("answered", far),
                          ("hold", long_ago)):  # fmt: skip
            data = message(node, phase, ts=ts, dialog="1.1", company_id=company, setup_at=ts)
            await node.client.publish(f"call.events.{phase}", data)
        await stream.until(lambda s: list(s.states.values()) == ["held"])
        (call,) = stream.dashboard.calls.values()
        # Times are moved into our clock by what the node says of its own, or are unknown.
        assert abs(call.get("setup_at", now_ms()) - now_ms()) < 60_000
        await agrees(service, stream, token)


async def test_impossible_steps_change_nothing_and_are_counted(
    service: Instance, node: Node
) -> None:
    company = f"steps-{node.name}"
    token = service.token("user", company_id=company)
    irregular = "livestate_events_irregular_total"
    before = (await metrics(service))[irregular]
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.dashboard.complete)
        await node.call("1.1", company_id=company)
        for phase in ("ringing", "setup", "early_media", "reroute"):
            await node.say(phase, "1.1", company_id=company)
        await node.say("notice", "1.1", company_id=company, detail="last")
        await stream.until(
            lambda s: [c.get("detail") for c in s.dashboard.calls.values()] == ["last"]
        )
        assert list(stream.states.values()) == ["answered"]
        await node.say("ended", "1.1", company_id=company, outcome="answered")
        await stream.until(lambda s: not s.dashboard.calls)
        for phase in ("resume", "hold", "ringing", "answered", "failed", "ended"):
            await node.say(phase, "1.1", company_id=company)
        await node.call("2.2", company_id=company)
        await stream.until(lambda s: len(s.dashboard.calls) == 1)
        assert set(stream.states) == {f"2.2@{node.name}"}
        await agrees(service, stream, token)
    # four after the answer, six after the end
    assert (await metrics(service))[irregular] - before == 10


async def test_ten_thousand_events_of_one_call_are_a_few_frames_and_the_last_state(
    service: Instance, node: Node
) -> None:
    company = f"busy-{node.name}"
    token = service.token("user", company_id=company)
    async with (
        await Stream.open(service.url, token) as stream,
        await Stream.open(service.url, service.token()) as beside,
    ):
        await stream.until(lambda s: s.dashboard.complete)
        await node.call("1.1", company_id=company)
        node.hurried = True
        for number in range(5_000):
            await node.say("hold", "1.1", company_id=company, detail=f"{number}")
            await node.say("resume", "1.1", company_id=company)
        await node.say("hold", "1.1", company_id=company, detail="last")
        await node.client.flush()
        node.hurried = False
        await node.call("2.2")
        await beside.until(lambda s: f"2.2@{node.name}" in s.states, 15)
        await stream.until(
            lambda s: [c.get("detail") for c in s.dashboard.calls.values()] == ["last"]
        )
        assert list(stream.states.values()) == ["held"]
        assert len(stream.named("diff")) < 2_000
        await agrees(service, stream, token)
        (key,) = stream.dashboard.calls
    story = await ask(service.port, get(f"{STREAM}/{key}", as_(token)))
    assert len(orjson.loads(story.body)["timeline"]) <= 11  # a mark a phase, however many events


async def test_fifty_thousand_calls_are_as_many_as_may_be_and_the_rest_is_counted(
    world: World,
) -> None:
    """The cap on memory: live calls are kept, new ones refused, and room is used again."""
    service = world.service(MAX_CALLS="2000", ENDED_CALLS="1000", ENDED_SECONDS="1")
    async with service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        node.hurried = True
        for number in range(50_000):
            await node.say("setup", f"{number}.1")
        await node.client.flush()
        async with asyncio.timeout(30):
            while sum(rejects(counted := await metrics(service)).values()) < 48_000:
                await asyncio.sleep(0.05)
        assert rejects(counted) == Counter(too_many_calls=48_000)
        assert counted["livestate_active_calls"] == 2_000
        assert counted["livestate_remembered_calls"] <= 3_000
        for number in range(100):
            await node.say("failed", f"{number}.1")
        for number in range(100):
            await node.say("setup", f"new-{number}.1")
        for number in range(20_000):  # first heard of at their end: never live, soon forgotten
            await node.say("ended", f"over-{number}.1")
        await node.client.flush()
        async with await Stream.open(service.url, service.token()) as stream:
            await stream.until(lambda s: f"new-99.1@{node.name}" in s.states, 15)
            await stream.until(lambda s: len(s.dashboard.calls) == 2_000)
            await agrees(service, stream, service.token())
        async with asyncio.timeout(15):
            while (await metrics(service))["livestate_remembered_calls"] > 3_000:
                await asyncio.sleep(0.1)
        assert rejects(await metrics(service)) == Counter(too_many_calls=48_000)


@pytest.mark.parametrize("path", ["/metrics", "/statusz"])
async def test_what_the_inside_reads_names_no_call_no_company_and_no_token(
    service: Instance, node: Node, path: str
) -> None:
    canary = {"from_": "canary-name", "company_id": "canary-company", "trunk": "gw-of-our-own",
              "call_id": "canary-id"}  # fmt: skip
    await node.call("canary.1", **canary)
    token = service.token("user", company_id="canary-company", subject="canary-subject")
    async with await Stream.open(service.url, token, query={"trunk": "gw-of-our-own"}) as stream:
        await stream.until(lambda s: s.dashboard.calls)
        await ask(service.port, get(STREAM, as_("canary-token"), "X: canary-header"))
        answer = await ask(service.admin_port, get(path))
    assert answer.status == 200
    assert b"canary" not in answer.body
    assert token.encode() not in answer.body
