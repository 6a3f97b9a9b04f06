"""Calls to several phones, transfers and pickups: which call stays, and how the others end."""

from __future__ import annotations

import pytest

from tests.e2e.agents import Dialog, Stage
from tests.e2e.lab import Kamailio
from tests.e2e.signalling import TAG, cdrs, listed, one, phases, settle, tag
from tests.e2e.test_holds import sdp

pytestmark = pytest.mark.timeout(60)


async def test_a_call_to_two_phones_at_once_is_one_call() -> None:
    """Both ring, one is busy, the other answers: the losing branch ends nothing."""
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        first, second = [await stage.agent(port) for port in kamailio.gateways]
        dialog = Dialog.between(await stage.agent(), second, "39110006", "4466100")
        invite = dialog.invite(sdp("audio"))
        branches = [await phone.wait("INVITE") for phone in (first, second)]
        first.answer(branches[0], 180, tag="one")
        second.answer(branches[1], 180, tag="two")
        await settle()
        first.answer(branches[0], 486, tag="one")
        await first.wait("ACK")
        await settle()
        assert one(stage.listener.of(dialog.call_id)).state == "ringing"
        second.answer(branches[1], 200, tag="two", body=sdp("audio"))
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        await second.wait("ACK")
        await settle()
        assert (await listed(stage, dialog)).state == "answered"
        await dialog.hang_up()
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert phases(frames) == ["setup", "ringing", "answered", "ended"]
        assert cdrs(frames) == ["answered"]


async def test_of_two_phones_the_one_that_is_slower_is_cancelled_and_the_call_stays() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        first, second = [await stage.agent(port) for port in kamailio.gateways]
        dialog = Dialog.between(await stage.agent(), first, "39110007", "4466100")
        invite = dialog.invite(sdp("audio"))
        branches = [await phone.wait("INVITE") for phone in (first, second)]
        for phone, branch, tag in ((first, branches[0], "one"), (second, branches[1], "two")):
            phone.answer(branch, 180, tag=tag)
        await settle()  # or another SIP worker may have the 200 first
        first.answer(branches[0], 200, tag="one", body=sdp("audio"))
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        second.answer(await second.wait("CANCEL"), 200, tag="two")
        second.answer(branches[1], 487, tag="two")
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert (phases(frames), one(frames).state) == (["setup", "ringing", "answered"], "answered")
        await dialog.hang_up()
        await settle()
        assert cdrs(stage.listener.of(dialog.call_id)) == ["answered"]


async def test_two_phones_that_both_refuse_are_one_failed_call() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        first, second = [await stage.agent(port) for port in kamailio.gateways]
        dialog = Dialog.between(await stage.agent(), first, "39110008", "4466100")
        invite = dialog.invite(sdp("audio"))
        for phone, code in ((first, 486), (second, 603)):
            phone.answer(await phone.wait("INVITE"), code, tag=TAG)
        dialog.acknowledge(await dialog.caller.wait(*range(300, 700)), invite)
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert phases(frames) == ["setup", "failed"]
        assert len(cdrs(frames)) == 1


async def test_a_spiral_is_one_call_as_it_came_first() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110009", "4433100")
        await dialog.set_up(sdp("audio"), sdp("audio"))
        await settle()
        assert (await listed(stage, dialog)).callee == "4433100"
        await dialog.negotiate("caller", "INVITE", sdp("audio sendonly"), sdp("audio recvonly"))
        await dialog.negotiate("caller", "INVITE", sdp("audio sendrecv"), sdp("audio sendrecv"))
        await dialog.hang_up()
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert phases(frames) == ["setup", "ringing", "answered", "hold", "resume", "ended"]
        assert (one(frames).callee, one(frames).outcome) == ("4433100", "answered")


async def test_two_answers_of_one_fork_leave_the_call_that_was_answered_first() -> None:
    """A fork behind us lets two phones answer (RFC 3261 §13.2.2.4): the caller ends the second."""
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110013", "44207100")
        invite = dialog.invite(sdp("audio"))
        came = await phone.wait("INVITE")
        phone.answer(came, 200, tag="first", body=sdp("audio"))
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        await phone.wait("ACK")
        to = dialog.to
        phone.answer(came, 200, tag="second", body=sdp("audio"))
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        await phone.wait("ACK")
        await dialog.hang_up()
        await settle()
        call = one(stage.listener.of(dialog.call_id))
        assert call.state == "answered"
        assert (await listed(stage, dialog)).state == "answered"
        dialog.to = to
        await dialog.hang_up()
        await settle()
        assert one(stage.listener.of(dialog.call_id)).outcome == "answered"


async def test_an_attended_transfer_ends_two_calls_and_leaves_the_one_that_replaces_them() -> None:
    """RFC 5589 §7: A talks to B and to C, and refers B to C with Replaces."""
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        first, second = [await stage.agent(port) for port in kamailio.gateways]
        a, b = await stage.agent(), await stage.agent()
        to_b = await Dialog.between(a, first, "39110014", "44207100").set_up("", "")
        to_c = await Dialog.between(a, second, "39110014", "5507100").set_up("", "")
        await to_b.negotiate("caller", "REFER", "", "", code=202)
        replaces = f"{to_c.call_id};to-tag={tag(to_c.to)};from-tag={tag(to_c.from_)}"
        new = Dialog.between(b, second, "44207100", "5507100")
        invite = new.invite(sdp("audio"), (("Replaces", replaces), ("Require", "replaces")))
        came = await second.wait("INVITE")
        second.answer(came, 200, tag="r", body=sdp("audio"))
        new.acknowledge(await b.wait(200), invite)
        await second.wait("ACK")
        await to_c.hang_up("callee")
        await to_b.hang_up()
        await settle()
        of = [stage.listener.of(dialog.call_id) for dialog in (to_b, to_c, new)]
        assert [one(frames).state for frames in of] == ["ended", "ended", "answered"]
        assert phases(of[0]) == ["setup", "ringing", "answered", "transfer", "ended"]
        assert of[2][0]["detail"] == f"replaces {replaces}"
        await new.hang_up()


async def test_a_pickup_is_a_cancelled_call_and_the_one_that_replaces_it() -> None:
    """RFC 3891 §3: C takes A's call, which rings at B, by an INVITE to A that replaces it."""
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        b = await stage.agent(kamailio.gateways[0])
        a = await stage.agent(kamailio.gateways[1])
        c = await stage.agent()
        ringing = Dialog.between(a, b, "39110015", "44207100")
        invite = ringing.invite(sdp("audio"))
        came = await b.wait("INVITE")
        b.answer(came, 180, tag=TAG)
        await a.wait(180)
        taken = Dialog.between(c, a, "39110016", "5507100")
        replaces = f"{ringing.call_id};to-tag={tag(ringing.from_)};from-tag={TAG};early-only"
        picking = taken.invite(sdp("audio"), (("Replaces", replaces),))
        at_a = await a.wait("INVITE")
        a.answer(at_a, 200, tag="p", body=sdp("audio"))
        taken.acknowledge(await c.wait(200), picking)
        await a.wait("ACK")
        ringing.cancel(invite)
        b.answer(await b.wait("CANCEL"), 200, tag=TAG)
        b.answer(came, 487, tag=TAG)
        await settle()
        assert one(stage.listener.of(ringing.call_id)).outcome == "canceled"
        call = one(stage.listener.of(taken.call_id))
        assert (call.state, call.detail) == ("answered", f"replaces {replaces}")
        await taken.hang_up()
