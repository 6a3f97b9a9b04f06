"""Attended transfer, pickup, spirals and reliable provisional responses, by SIPp's phones: seen on
the page, on the stream and in the CDRs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.calls import GATEWAY_A
from tests.e2e.conftest import Rigs
from tests.e2e.lab import REFERRED, Planned, rpc
from tests.e2e.rig import RIGHT_SECONDS, Rig
from tests.e2e.test_calls import as_planned
from tests.harness import metrics, snapshot

pytestmark = pytest.mark.timeout(180)
TALKS = ("ringing", "answered")


async def details(rig: Rig) -> dict[str, str]:
    """The ``detail`` of each live call, by caller."""
    calls = (await snapshot(rig.service, rig.service.token()))["calls"].values()
    return {call["from"]: call.get("detail", "") for call in calls}


async def all_seen(rig: Rig, named: list[tuple[str, Planned]]) -> dict[str, list[dict[str, Any]]]:
    """Each call was shown as it was, ended, and has one CDR. Returns the CDRs by caller."""
    calls = [planned for _, planned in named]
    await rig.until(rig.quiet, RIGHT_SECONDS)
    await rig.until(lambda: rig.each_has_one_cdr(calls), RIGHT_SECONDS)
    await rig.until(lambda: rig.page_tells(calls), RIGHT_SECONDS)
    assert as_planned(named, rig.on_stream(), "stream") == []
    assert as_planned(named, await rig.screen.seen(), "page") == []
    return await rig.cdrs()


async def test_an_attended_transfer_is_three_calls_that_can_be_put_together(rigs: Rigs) -> None:
    """RFC 5589 §7.1: A talks to B, consults C, and refers B to C, whose phone hangs up on A."""
    a_calls_b = Planned("39043001", "101", REFERRED, "consults", "answered", TALKS)
    b_calls_c = Planned(REFERRED, "101", "5507100", "talks", "answered", TALKS, inbound=True)
    async with rigs() as rig:
        rig.phones.call([a_calls_b], consulted="5507106", replacement="5507100")

        async def only_the_new_call() -> None:
            await rig.are_live([b_calls_c])

        await rig.until(only_the_new_call, 15)
        detail = (await details(rig))[REFERRED]
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        await rig.until(rig.quiet, RIGHT_SECONDS)

        async def three_cdrs() -> None:
            found = await rig.cdrs()
            outcomes = {name: [one["outcome"] for one in cdrs] for name, cdrs in found.items()}
            assert outcomes == {"39043001": ["answered"] * 2, REFERRED: ["answered"]}, outcomes

        await rig.until(three_cdrs, RIGHT_SECONDS)
        found = await rig.cdrs()
        (consultation,) = [one for one in found["39043001"] if one["to"] == "5507106"]
        (first,) = [one for one in found["39043001"] if one["to"] == REFERRED]
        assert re.fullmatch(
            rf"replaces {re.escape(consultation['call_id'])};to-tag=\w+;from-tag=\w+", detail
        )
        assert (first["by"], consultation["by"]) == ("caller", "callee")
        assert (found[REFERRED][0]["to"], found[REFERRED][0]["by"]) == ("5507100", "caller")
        counted = await metrics(rig.service)
        assert counted['livestate_events_received_total{phase="transfer"}'] == 1


async def test_a_pickup_is_a_cancelled_call_and_the_one_that_replaces_it(rigs: Rigs) -> None:
    """RFC 3891 §3: A calls B, where it rings; C calls A with Replaces, and A gives up B."""
    ringing = Planned("39043011", "101", GATEWAY_A + "03", "cancels", "canceled", ("ringing",),
                      talk_ms=3_500)  # fmt: skip
    picked = Planned("39043012", "101", "5507100", "replaces", "answered", TALKS, talk_ms=3_500)
    async with rigs() as rig:
        rig.phones.call([ringing])
        await rig.until(lambda: rig.are_live([ringing], "ringing"), 10)
        (dialog,) = await rpc(rig.kamailio.port, "dlg.list")
        replaced = (f"{dialog['call-id']};to-tag={dialog['caller']['tag']}"
                    f";from-tag={dialog['callee']['tag'] or 'x'};early-only")  # fmt: skip
        rig.phones.call([picked], replaces=replaced)
        await rig.until(lambda: rig.are_live([picked]), 10)
        assert (await details(rig))[picked.number] == f"replaces {replaced}"
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        await all_seen(rig, [("ringing", ringing), ("picked up", picked)])


async def test_a_spiral_is_one_call_as_it_came_first(rigs: Rigs) -> None:
    named = [
        (name, Planned(str(39_043_021 + at), "101", f"4433{ends}", scenario, outcome, passes))
        for at, (name, ends, scenario, outcome, passes) in enumerate((
            ("answered", "00", "talks", "answered", TALKS),
            ("held", "00", "holds", "answered", (*TALKS, "held", "answered")),
            ("hung up there", "06", "waits", "answered", TALKS),
            ("cancelled", "03", "cancels", "canceled", ("ringing",)),
            ("busy", "02", "talks", "busy", ("trying",)),
            ("transferred", "00", "transfers", "answered", TALKS),
        ))
    ]  # fmt: skip
    async with rigs() as rig:
        rig.phones.call(planned for _, planned in named)
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        found = await all_seen(rig, named)
        assert [found[p.number][0]["to"] for _, p in named] == [p.called for _, p in named]


async def test_reliable_provisional_responses_and_their_pracks_change_no_call(rigs: Rigs) -> None:
    passes = ("early", "ringing", "answered")
    named = [("reliable", Planned(str(39_043_031 + n), "101", GATEWAY_A + "12", "acknowledges",
                                 "answered", passes)) for n in range(2)]  # fmt: skip
    async with rigs() as rig:
        rig.phones.call(planned for _, planned in named)
        assert set(await rig.phones.done()) == {0}, rig.phones.log()
        await all_seen(rig, named)
