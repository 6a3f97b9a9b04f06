"""Which SIP messages belong to one call and which begin another: played on a real
Kamailio, and folded as the service folds it."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.agents import Dialog, Stage
from tests.e2e.lab import Kamailio
from tests.e2e.signalling import TAG, calls, cdrs, listed, one, phases, refuse, settle
from tests.e2e.test_holds import sdp

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("code", [401, 407])
async def test_a_challenged_call_is_one_call_with_one_cdr(code: int) -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone, caller = await stage.agent(kamailio.gateways[0]), await stage.agent()
        dialog = Dialog.between(caller, phone, "39110001", "44207100")
        await refuse(dialog, phone, code, dialog.invite(sdp("audio")))
        dialog.cseq += 1
        await dialog.set_up(sdp("audio"), sdp("audio"))
        await settle()
        frames = stage.listener.of(dialog.call_id)
        first, second = calls(frames)
        assert (first.state, first.outcome, second.state) == ("failed", "challenged", "answered")
        assert "kept" not in next(frame for frame in frames if frame["ev"] == "failed")
        await dialog.hang_up()
        await settle()
        assert cdrs(stage.listener.of(dialog.call_id)) == ["answered"]


def digest(realm: str) -> str:
    return f'Digest username="x", realm="{realm}", nonce="n", uri="sip:x", response="0"'


@pytest.mark.parametrize(("had", "challenge", "refused"), [
    (digest("gw (1).example"), 'Digest realm="gw (1).example", nonce="m"', True),
    (digest("gw"), 'Digest nonce="m", qop="auth", realm="gw", stale=FALSE', True),
    (f"{digest('other')}\r\nProxy-Authorization: {digest('gw')}", 'Digest realm="gw"', True),
    (digest("gw"), 'Digest realm="gw", nonce="m", stale=true', False),  # only its nonce is old
    (digest("own proxy"), 'Digest realm="gw", nonce="m"', False),  # another one's, on the way
    (digest("gw.example"), 'Digest realm="gw", nonce="m"', False),
    ("", 'Digest realm="gw", nonce="m"', False),
    (digest("["), 'Digest realm="[", nonce="m"', True),
    (digest("gw"), "", False),
])  # fmt: skip
@pytest.mark.parametrize("code", [401, 407])
async def test_credentials_that_are_challenged_again_were_refused(
    had: str, challenge: str, refused: bool, code: int
) -> None:
    credentials, asks = ("Proxy-Authorization", "Proxy-Authenticate")
    if code == 401:
        credentials, asks = "Authorization", "WWW-Authenticate"
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110019", "44207100")
        extra = ((credentials, had.replace("Proxy-Authorization", credentials)),) if had else ()
        await refuse(dialog, phone, code, dialog.invite(sdp("audio"), extra),
                     ((asks, challenge),) if challenge else ())  # fmt: skip
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert phases(frames) == ["setup", "failed"]
        assert one(frames).outcome == ("failed" if refused else "challenged")
        assert cdrs(frames) == ["failed"] * refused
        assert ("kept_failed" in frames[-1]) == refused


@pytest.mark.parametrize("target", ["sip:44551@acme.example", "sip::pw@acme.example"])
async def test_an_invite_that_cannot_be_sent_is_a_failed_call_at_once(target: str) -> None:
    """To a name that does not resolve, or by a URI that cannot be parsed."""
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        caller = await stage.agent()
        dialog = Dialog.between(caller, caller, "39110021", "44551001")
        dialog.target = target
        invite = dialog.invite(sdp("audio"))
        dialog.acknowledge(await caller.wait(*range(400, 600)), invite)
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert phases(frames) == ["setup", "failed"]
        call = one(frames)
        assert (call.outcome, call.by, call.detail) == ("failed", "proxy", "not relayed")
        assert cdrs(frames) == ["failed"]
        assert not calls(await stage.listener.listed())


@pytest.mark.parametrize("final", [407, 401, 486, 200])
async def test_where_the_proxy_answers_a_challenge_it_is_one_call(final: int) -> None:
    """By ``uac_auth()``: a second challenge says that the proxy's own credentials were refused."""
    challenge = (("Proxy-Authenticate", 'Digest realm="gw", nonce="n"'),)
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110020", "44111001")
        invite = dialog.invite(sdp("audio"))
        phone.answer(await phone.wait("INVITE"), 407, tag="first", extra=challenge)
        await phone.wait("ACK")
        came = await phone.wait("INVITE")
        assert came.all("Proxy-Authorization")
        phone.answer(came, final, tag=TAG, extra=challenge if final < 420 else (),
                     body=sdp("audio") if final == 200 else "")  # fmt: skip
        dialog.acknowledge(await dialog.caller.wait(final), invite)
        await settle()
        if final == 200:
            await dialog.hang_up()
            await settle()
        frames = stage.listener.of(dialog.call_id)
        outcome = {200: "answered", 486: "busy"}.get(final, "failed")
        assert (one(frames).outcome, cdrs(frames)) == (outcome, [outcome])


async def test_a_challenge_of_the_proxy_itself_is_nothing() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110017", "44221001")
        invite = dialog.invite(sdp("audio"))
        dialog.acknowledge(await dialog.caller.wait(407), invite)
        await settle()
        assert stage.listener.of(dialog.call_id) == []
        dialog.cseq += 1
        invite = dialog.invite(sdp("audio"), (("Proxy-Authorization", "Digest x"),))
        came = await phone.wait("INVITE")
        phone.answer(came, 486, tag=TAG)
        dialog.acknowledge(await dialog.caller.wait(486), invite)
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert [(frame["ev"], frame["seq"]) for frame in frames] == [("setup", 1), ("failed", 2)]
        assert cdrs(frames) == ["busy"]


async def test_a_redirection_that_the_proxy_follows_is_a_reroute() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone, other = await stage.agent(kamailio.gateways[0]), await stage.agent()
        dialog = Dialog.between(await stage.agent(), other, "39110002", "44881001")
        invite = dialog.invite(sdp("audio"))
        came = await phone.wait("INVITE")
        phone.answer(came, 302, tag=TAG,
                     extra=(("Contact", f"<sip:4420@127.0.0.1:{other.port}>"),))  # fmt: skip
        await phone.wait("ACK")
        came = await other.wait("INVITE")
        other.answer(came, 180, tag=TAG)
        await dialog.caller.wait(180)
        other.answer(came, 200, tag=TAG, body=sdp("audio"))
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        await other.wait("ACK")
        await dialog.hang_up()
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert phases(frames) == ["setup", "reroute", "ringing", "answered", "ended"]
        assert (one(frames).outcome, one(frames).attempt) == ("answered", 2)


async def test_a_call_that_is_redirected_for_good_is_over_as_that() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110003", "44207100")
        await refuse(dialog, phone, 302, dialog.invite(sdp("audio")),
                     (("Contact", "<sip:4420@127.0.0.1:9>"),))  # fmt: skip
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert (phases(frames), one(frames).outcome) == (["setup", "failed"], "redirected")
        assert cdrs(frames) == ["redirected"]


async def test_after_a_reroute_the_new_phone_rings() -> None:
    """The first phone rang, so its ringing says nothing of the second; nor does a list."""
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        first, second = [await stage.agent(port) for port in kamailio.gateways]
        dialog = Dialog.between(await stage.agent(), second, "39110004", "4499100")
        invite = dialog.invite(sdp("audio"))
        came = await first.wait("INVITE")
        first.answer(came, 180, tag=TAG)
        await dialog.caller.wait(180)
        first.answer(came, 183, tag=TAG, body=sdp("audio"))
        await dialog.caller.wait(183)
        first.answer(came, 503, tag=TAG)
        came = await second.wait("INVITE")
        await settle()
        assert one(stage.listener.of(dialog.call_id)).state == "trying"
        assert (await listed(stage, dialog)).state == "trying"
        second.answer(came, 180, tag="other")
        await dialog.caller.wait(180)
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert phases(frames) == ["setup", "ringing", "early_media", "reroute", "ringing"]
        ringing = one(frames).phase_records[-1]
        assert (ringing.phase, one(frames).state) == ("ringing", "ringing")
        assert ringing.at > one(frames).phase_records[-2].at
        assert (await listed(stage, dialog)).state == "ringing"
        second.answer(came, 200, tag="other", body=sdp("audio"))
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        await second.wait("ACK")
        await dialog.hang_up()


@pytest.mark.parametrize("final", [None, 486, 480, 603, 500, 487])
async def test_a_cancelled_call_is_cancelled_whatever_the_phone_answers(final: int | None) -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110005", "44207100")
        invite = dialog.invite(sdp("audio"))
        came = await phone.wait("INVITE")
        phone.answer(came, 180, tag=TAG)
        await dialog.caller.wait(180)
        dialog.cancel(invite)
        phone.answer(await phone.wait("CANCEL"), 200, tag=TAG)
        if final:
            phone.answer(came, final, tag=TAG)
        async with asyncio.timeout(20):  # without any response, Kamailio's own timer ends it
            while "failed" not in phases(stage.listener.of(dialog.call_id)):
                await asyncio.sleep(0.05)
        call = one(stage.listener.of(dialog.call_id))
        assert (call.state, call.outcome, call.by) == ("failed", "canceled", "caller")


async def test_a_reliable_provisional_response_and_its_prack_change_nothing() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110010", "44207100")
        invite = dialog.invite(sdp("audio"), (("Supported", "100rel"),))
        came = await phone.wait("INVITE")
        phone.answer(came, 183, tag=TAG, body=sdp("audio"),
                     extra=(("Require", "100rel"), ("RSeq", "1")))  # fmt: skip
        reliable = await dialog.caller.wait(183)
        await dialog.within(reliable, "PRACK", (("RAck", "1 1 INVITE"),))
        phone.answer(came, 200, tag=TAG)
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        await phone.wait("ACK")
        await dialog.hang_up()
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert phases(frames) == ["setup", "early_media", "answered", "ended"]


async def test_a_list_says_which_of_ringing_and_early_media_came_last() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        for codes in ((183, 180), (180, 183), (180, 183, 180), (183, 180, 183)):
            dialog = Dialog.between(await stage.agent(), phone, "39110018", "44207100")
            dialog.invite(sdp("audio"))
            came = await phone.wait("INVITE")
            for code in codes:
                phone.answer(came, code, tag=TAG, body=sdp("audio") if code == 183 else "")
                await dialog.caller.wait(code)
            await settle()
            by_events = one(stage.listener.of(dialog.call_id)).state
            assert (await listed(stage, dialog)).state == by_events, codes


async def test_a_hold_while_ringing_shows_at_the_answer() -> None:
    """By UPDATE in an early dialog (RFC 3311)."""
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110011", "44207100")
        invite = dialog.invite(sdp("audio"))
        came = await phone.wait("INVITE")
        phone.answer(came, 183, tag=TAG, body=sdp("audio"))
        early = await dialog.caller.wait(183)
        await dialog.within(early, "UPDATE", body=sdp("audio sendonly"),
                            answer=sdp("audio recvonly"))  # fmt: skip
        await settle()
        frames = stage.listener.of(dialog.call_id)
        assert (phases(frames), one(frames).state) == (["setup", "early_media"], "early")
        assert (await listed(stage, dialog)).state == "early"
        phone.answer(came, 200, tag=TAG)
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        await phone.wait("ACK")
        await settle()
        assert one(stage.listener.of(dialog.call_id)).state == "held"
        assert (await listed(stage, dialog)).state == "held"
        await dialog.hang_up()


async def test_the_200_of_a_call_that_listens_only_is_no_hold_however_often_it_comes() -> None:
    async with Kamailio() as kamailio, Stage(kamailio) as stage:
        phone = await stage.agent(kamailio.gateways[0])
        dialog = Dialog.between(await stage.agent(), phone, "39110012", "44207100")
        invite = dialog.invite(sdp("audio sendonly"))
        came = await phone.wait("INVITE")
        for _ in range(3):
            phone.answer(came, 200, tag=TAG, body=sdp("audio recvonly"))
            await settle()
        dialog.acknowledge(await dialog.caller.wait(200), invite)
        await phone.wait("ACK")
        await settle()
        assert phases(stage.listener.of(dialog.call_id)) == ["setup", "answered"]
        await dialog.hang_up()
