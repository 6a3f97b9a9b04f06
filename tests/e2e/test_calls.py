"""The page shows each call as SIPp made it, and every call has one CDR."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.e2e.calls import GATEWAY_A, KILLED, every_outcome, talking
from tests.e2e.conftest import Rigs
from tests.e2e.lab import LIFE_SECONDS, Planned
from tests.e2e.rig import RIGHT_SECONDS
from tests.e2e.witness import Seen
from tests.harness import metrics

# Callers who choose bytes that are no text, too many of them, or text that looks like a page's.
HOSTILE = (
    (b'"\xff\xfe" <sip:a\xff@acme.example>', b"c1@x"),
    (b"<sip:b@acme.example>", b"c2\xff\xfe@x"),
    (b"<sip:c@acme.example>", b"x" * 3_000),
    (b'"\\"<b>" <sip:%22%3Cscript%3Ealert(1)%3C/script%3E@acme.example>', b'c4"\\<b>@x'),
    (b"<sip:e@acme.example>", b"c5\x01\x02@x"),
    (b"<sip:" + b"f" * 9_000 + b"@acme.example>", b"c6@x"),
)
pytestmark = pytest.mark.timeout(180)


def path(seen: Seen, planned: Planned) -> tuple[str, ...]:
    """The states that were seen; "trying" only where it lasts long enough for a frame."""
    passes = tuple(seen.passes)
    return (
        passes if planned.passes[:1] == ("trying",) else tuple(p for p in passes if p != "trying")
    )


def as_planned(named: list[tuple[str, Planned]], seen: dict[str, Seen], where: str) -> list[str]:
    wrong = []
    for name, planned in named:
        one = seen.get(planned.number)
        if one is None:
            if planned.live:
                wrong.append(f"{where}: {name} {planned.number} was never seen")
            continue
        got = (path(one, planned), one.outcome)
        if got != (planned.passes, planned.outcome) or not planned.live:
            wrong.append(f"{where}: {name} {planned.number} {planned} was seen as {one}")
    strangers = seen.keys() - {planned.number for _, planned in named}
    return wrong + [f"{where}: {number} was never called" for number in strangers]


async def test_every_outcome_is_shown_as_it_was_and_has_one_cdr(
    rigs: Rigs, tell: Callable[[str], None]
) -> None:
    named = list(every_outcome())
    async with rigs() as rig:
        assert await rig.check() == 0
        rig.phones.call((planned for _, planned in named), per_second=8)
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        await rig.until(rig.quiet, RIGHT_SECONDS)
        await rig.until(lambda: rig.each_has_one_cdr(p for _, p in named), RIGHT_SECONDS)

        await rig.until(lambda: rig.page_tells(p for _, p in named if p.live), RIGHT_SECONDS)
        streamed, shown = rig.on_stream(), await rig.screen.seen()
        assert as_planned(named, streamed, "stream") + as_planned(named, shown, "page") == []
        cdrs = await rig.cdrs()
        for name, planned in named:
            (cdr,) = cdrs[planned.number]
            assert cdr["to" if planned.live else "from"], name
            if not planned.live:
                continue
            facts, page = streamed[planned.number].facts, shown[planned.number].facts
            direction = "inbound" if planned.inbound else "outbound"
            for told_of in (cdr, facts):
                assert (told_of["to"], told_of["company_id"], told_of["direction"]) == (
                    planned.called, planned.company, direction), name  # fmt: skip
            assert (page["to"], page["company"]) == (planned.called, planned.company)
            assert direction.startswith(page["direction"].split()[-1])
            if planned.outcome == "answered":
                talked = cdr["ended_at"] - cdr["answered_at"]
                assert talked >= planned.talk_ms - 50, (name, talked)
        rerouted = next(planned for name, planned in named if name == "rerouted")
        assert shown[rerouted.number].trunks == ["gw-a", "gw-b (try 2)"]
        assert [cdr["by"] for cdr in cdrs[named[1][1].number]] == ["callee"]
        kinds = len({name for name, _ in named})
        tell(f"{len(named)} calls of {kinds} kinds: page, stream and CDRs tell what SIPp did")


async def test_a_hostile_caller_is_a_call_like_others_and_hides_none(rigs: Rigs) -> None:
    async with rigs() as rig:
        with socket.socket(type=socket.SOCK_DGRAM) as caller:
            caller.bind(("127.0.0.1", 0))
            for number, (from_, call_id) in enumerate(HOSTILE):
                invite = (
                    b"INVITE sip:4420709@acme.example SIP/2.0\r\n"
                    b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK-%d\r\nFrom: %b;tag=t%d\r\n"
                    b"To: <sip:4420709@acme.example>\r\nCall-ID: %b\r\nCSeq: 1 INVITE\r\n"
                    b"Max-Forwards: 70\r\nContact: <sip:x@127.0.0.1>\r\nContent-Length: 0\r\n\r\n"
                    % (caller.getsockname()[1], number, from_, number, call_id)
                )
                caller.sendto(invite, ("127.0.0.1", rig.kamailio.sip_port))
            await rig.stream.until(lambda s: len(s.states) == len(HOSTILE), 10)

            async def is_shown() -> None:
                assert '"<script>alert(1)</script>' in await rig.screen.calls()

            await rig.until(is_shown, RIGHT_SECONDS)
            await rig.stream.until(lambda s: not s.states, 20)
        planned_calls = [
            one for ended in rig.stream.named("diff") for one in ended.get("ended", {}).values()
        ]
        assert [one["outcome"] for one in planned_calls] == ["no_reply"] * len(HOSTILE)

        async def each_has_a_cdr() -> None:
            cdrs = [cdr for cdrs in (await rig.cdrs()).values() for cdr in cdrs]
            assert len({cdr["call_id"] for cdr in cdrs}) == len(cdrs) == len(HOSTILE), cdrs

        await rig.until(each_has_a_cdr, RIGHT_SECONDS)
        counted = await metrics(rig.service)
        assert counted["livestate_node_gaps_total"] == 0
        assert await rig.screen.word() == "live"


async def test_calls_that_a_gateway_challenges_are_counted_once_each(rigs: Rigs) -> None:
    calls = [Planned(str(39_041_001 + n), "101", GATEWAY_A + "10", "authenticates", "answered",
                     ("ringing", "answered")) for n in range(5)]  # fmt: skip
    async with rigs() as rig:
        rig.phones.call(calls)
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        await rig.until(rig.quiet, RIGHT_SECONDS)
        await rig.until(lambda: rig.each_has_one_cdr(calls), RIGHT_SECONDS)
        await rig.until(lambda: rig.page_tells(calls), RIGHT_SECONDS)

        async def figures() -> None:
            kpi = rig.stream.named("kpi")[-1]
            assert (kpi["offered"], kpi["asr"], kpi["ner"]) == (5, 100, 100), kpi

        await rig.until(figures, 15)


async def test_a_call_that_rings_two_phones_is_one_on_the_page(rigs: Rigs) -> None:
    """Gateway A rings for ever or has no lines, gateway B answers."""
    calls = [Planned(str(39_042_001 + n), "101", f"4466207{ends}", "talks", "answered",
                     ("ringing", "answered")) for n, ends in enumerate(("11", "04"))]  # fmt: skip
    async with rigs() as rig:
        rig.phones.call(calls)
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        await rig.until(rig.quiet, RIGHT_SECONDS)
        await rig.until(lambda: rig.each_has_one_cdr(calls), RIGHT_SECONDS)
        await rig.until(lambda: rig.page_tells(calls), RIGHT_SECONDS)
        named = [("forked", planned) for planned in calls]
        assert as_planned(named, rig.on_stream(), "stream") == []
        assert as_planned(named, await rig.screen.seen(), "page") == []


async def test_calls_whose_phones_were_killed_stay_until_their_dialogs_expire(rigs: Rigs) -> None:
    calls = talking(3, 39_040_001, talk_ms=60_000, called=KILLED + "00", outcome="expired")
    async with rigs() as rig:
        rig.phones.call(calls)
        await rig.until(lambda: rig.are_live(calls), 10)
        rig.phones.kill()
        await rig.until(rig.quiet, LIFE_SECONDS + RIGHT_SECONDS + 2)
        await rig.until(lambda: rig.page_tells(calls), RIGHT_SECONDS)
        named = [("killed", planned) for planned in calls]
        assert as_planned(named, rig.on_stream(), "stream") == []
        assert as_planned(named, await rig.screen.seen(), "page") == []
        await rig.until(lambda: rig.each_has_one_cdr(calls), RIGHT_SECONDS)
