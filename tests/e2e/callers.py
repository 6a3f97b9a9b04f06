"""The scenarios of SIPp's calling phones, in its own language. Pure text.

A caller reads its numbers from a file, a line a call: own number; own domain; number called; its
domain; how long it talks, ms. Some scenarios also have keywords, which SIPp is given by ``-key``:
``consulted`` and ``replacement`` (numbers), ``replaces`` (the header's value).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.e2e.sipp import (
    OF_INVITE,
    REFUSALS,
    answer,
    document,
    expect,
    pause,
    request,
    sdp,
    send,
    with_body,
)


def caller(name: str) -> str:
    """``talks``, ``waits`` (the other side hangs up), ``cancels``, ``holds``, ``transfers``,
    ``authenticates`` (after a challenge), ``acknowledges`` (reliable provisional responses),
    ``consults`` (and transfers to whom it consulted) or ``replaces`` (picks up)."""
    return document(name, _CALLERS[name])


_TALK: Final = """\
  <nop><action><assignstr assign_to="s" value="[field4]"/>
    <todouble assign_to="d" variable="s"/></action></nop>
  <pause variable="d"/>
"""
_INVITE: Final = request("INVITE", 1, body=sdp(1), in_dialog=False, again=True)
_ANSWERED: Final = (
    _INVITE + expect(100, 180, 181, 183) + expect(*REFUSALS, then="refused")
    + '  <recv response="200" rrs="true"/>\n' + request("ACK", 1)
)  # fmt: skip
_REFUSED: Final = (
    '  <nop next="end"/>\n  <label id="refused"/>\n'
    + request("ACK", 1, in_dialog=False, branch=OF_INVITE)
    + '  <label id="end"/>\n' + pause(20)
)  # fmt: skip


def _bye(cseq: int) -> str:
    return request("BYE", cseq, again=True) + expect(200, optional=False)


def _reinvite(cseq: int, media: str) -> str:
    return (
        request("INVITE", cseq, body=sdp(cseq, media), again=True)
        + expect(100) + expect(200, optional=False) + request("ACK", cseq)
    )  # fmt: skip


def _to_b(method: str, cseq: int, extra: str = "") -> str:
    return send(
        f"""\
{method} [$b] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@[field1]>;tag=c[pid]x[call_number]
To:[$to b]
Call-ID: [call_id]
CSeq: {cseq} {method}
Max-Forwards: 70
Route:[$route b]
Contact: <sip:[field0]@[local_ip]:[local_port]>
{extra}Content-Length: 0

""",
        again=True,
    )


def _reliable(code: int, cseq: int) -> str:
    return (
        f'  <recv response="{code}" rrs="true">\n'
        + '    <action><ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" assign_to="rseq"/>'
        + "</action>\n  </recv>\n" + request("PRACK", cseq, extra="RAck: [$rseq] 1 INVITE\n",
                                               again=True)
        + expect(200, optional=False)
    )  # fmt: skip


# RFC 5589 §7.1: A talks to B, consults C, and refers B to C with Replaces; C then ends the
# consultation. "x///[call_id]" is how SIPp names a second dialog of one call; [next_url] and
# [routes] stay those of the first.
_CONSULTS: Final = (
    _INVITE + expect(100, 180, 183) + """\
  <recv response="200" rrs="true"><action>
    <ereg regexp="sip:[^>]*" search_in="hdr" header="Contact:" assign_to="b"/>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="to b"/>
    <ereg regexp=".*" search_in="hdr" header="Record-Route:" assign_to="route b"/>
  </action></recv>
""" + request("ACK", 1) + pause(300)
    + send(with_body("""\
INVITE sip:[consulted]@[field3] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@[field1]>;tag=k[pid]x[call_number]
To: <sip:[consulted]@[field3]>
Call-ID: consult///[call_id]
CSeq: 1 INVITE
Max-Forwards: 70
Contact: <sip:[field0]@[local_ip]:[local_port]>
""", sdp(1)), again=True)
    + expect(100, 180, 183) + """\
  <recv response="200"><action>
    <ereg regexp="tag=(.*)" search_in="hdr" header="To:" assign_to="unused,tag of c"/>
    <ereg regexp="sip:[^>]*" search_in="hdr" header="Contact:" assign_to="c"/>
    <ereg regexp=".*" search_in="hdr" header="Record-Route:" assign_to="route c"/>
  </action></recv>
""" + send("""\
ACK [$c] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@[field1]>;tag=k[pid]x[call_number]
To: <sip:[consulted]@[field3]>[peer_tag_param]
Call-ID: consult///[call_id]
CSeq: 1 ACK
Max-Forwards: 70
Route:[$route c]
Content-Length: 0

""") + pause(500)
    + _to_b("REFER", 2, "Refer-To: <sip:[replacement]@[field3]?Replaces=consult///[call_id]"
                        "%3Bto-tag%3D[$tag of c]%3Bfrom-tag%3Dk[pid]x[call_number]>\n")
    + expect(100) + expect(202, optional=False)
    + '  <recv request="BYE" timeout="10000"/>\n' + answer(200, "OK")
    + _to_b("BYE", 3) + expect(200, optional=False)
    + '  <Reference variables="unused"/>\n'
)  # fmt: skip

_CALLERS: Final[Mapping[str, str]] = {
    "talks": _ANSWERED + _TALK + _bye(2) + _REFUSED,
    "waits": _ANSWERED + '  <recv request="BYE" timeout="60000"/>\n' + answer(200, "OK")
             + _REFUSED,
    "cancels": _INVITE + expect(100) + expect(180, optional=False) + _TALK
               + request("CANCEL", 1, in_dialog=False, branch=OF_INVITE)
               + expect(200, optional=False) + expect(487, optional=False)
               + request("ACK", 1, in_dialog=False, branch=OF_INVITE) + pause(20),
    "holds": _ANSWERED + _TALK + _reinvite(2, "sendonly") + _TALK + _reinvite(3, "sendrecv")
             + _TALK + _bye(4) + _REFUSED,
    "transfers": _ANSWERED + _TALK
                 + request("REFER", 2, extra="Refer-To: <sip:4420799900@127.0.0.1>\n", again=True)
                 + expect(100) + expect(202, optional=False) + _TALK + _bye(3) + _REFUSED,
    "authenticates": _INVITE + expect(100)
                     + '  <recv response="407" auth="true"/>\n'
                     + request("ACK", 1, in_dialog=False, branch=OF_INVITE)
                     + request("INVITE", 2, body=sdp(1), in_dialog=False, again=True, extra=(
                         "[authentication username=phone password=secret]\n"))
                     + expect(100, 180, 183) + '  <recv response="200" rrs="true"/>\n'
                     + request("ACK", 2) + _TALK + _bye(3),
    # RFC 3262: each reliable provisional response is acknowledged by a PRACK.
    "acknowledges": request("INVITE", 1, body=sdp(1), in_dialog=False, again=True,
                             extra="Supported: 100rel\n")
                    + expect(100) + _reliable(183, 2) + _reliable(180, 3)
                    + '  <recv response="200" rrs="true"/>\n' + request("ACK", 1) + _TALK + _bye(4),
    "consults": _CONSULTS,
    "replaces": _ANSWERED.replace(
                    "Content-Type", "Replaces: [replaces]\nRequire: replaces\nContent-Type", 1)
                + _TALK + _bye(2) + _REFUSED,
}  # fmt: skip
