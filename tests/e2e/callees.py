"""The scenarios of SIPp's called phones, in its own language. Pure text.

The last two digits of the number called choose what happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.e2e.sipp import MIRRORED, answer, document, expect, pause, sdp, send, with_body


def callee(*, has_lines: bool) -> str:
    """Any number's other side. ``has_lines``: 04 answers here, elsewhere it is 503; 11 answers
    here, elsewhere it rings for ever."""
    chosen = {label: digits for label, digits in _BEHAVIOUR.items()
              if not (has_lines and label == "no lines")}  # fmt: skip
    if not has_lines:
        chosen["for ever"] = "(03|11)"
    noted = "".join(
        f'      <ereg regexp="sip:[0-9]*{digits}@" search_in="hdr" header="To:"'
        f' assign_to="is {label}"/>\n' for label, digits in chosen.items()
    )  # fmt: skip
    return document("callee", f"""\
  <recv request="INVITE" crlf="true" rrs="true">
    <action>
{noted}{_NOTED_VIAS}    </action>
  </recv>
{"".join(_when(label) for label in chosen if label not in _AFTER_RINGING)}""" + _RINGS + _IN_CALL
    + _ENDINGS)  # fmt: skip


_BEHAVIOUR: Final[Mapping[str, str]] = {
    "early": "01", "busy": "02", "for ever": "03", "no lines": "04", "unknown": "05",
    "hang up": "06", "unavailable": "07", "declined": "08", "silent": "09",
    "challenges": "10", "reliable": "12", "refers on": "13",
}  # fmt: skip
_AFTER_RINGING: Final = ("for ever", "unavailable", "declined", "hang up", "refers on")
# After a PRACK, "last_" is of the PRACK: a reply to the INVITE then needs the INVITE's own.
_NOTED_VIAS: Final = "".join(
    f'      <ereg regexp=".*" search_in="hdr" header="Via:" occurrence="{nth}"'
    f' assign_to="via {nth}"/>\n' for nth in (1, 2)
)  # fmt: skip


def _when(label: str) -> str:
    return f'  <nop next="{label}" test="is {label}"/>\n'


# Who is referred calls whom the Refer-To names, with its Replaces (RFC 3891), while the one who
# referred hangs up. "referred///" as in callers.py; SIPp would take that and "consult///" for one
# call, so this one comes in by the trunk, to the company's PBX.
def _referred(method: str, cseq: int, to: str, extra: str, body: str = "") -> str:
    return send(
        with_body(
            f"""\
{method} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[service]@trunk.example>;tag=r[pid]x[call_number]
To:{to}
Call-ID: referred///[call_id]
CSeq: {cseq} {method.split()[0]}
Max-Forwards: 70
Contact: <sip:phone@[local_ip]:[local_port]>
{extra}""",
            body,
        ),
        again=not method.startswith("ACK"),
    )


_REFERRED: Final = (
    _referred("INVITE [$target]", 1, " <[$target]>",
                "Replaces: [$replaced];to-tag=[$to tag];from-tag=[$from tag]\n"
                "Require: replaces\n", sdp(1))
    + expect(100, 180, 183)
    + """\
  <recv response="200"><action>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="to c"/>
    <ereg regexp="sip:[^>]*" search_in="hdr" header="Contact:" assign_to="c"/>
    <ereg regexp=".*" search_in="hdr" header="Record-Route:" assign_to="route c"/>
  </action></recv>
""" + _referred("ACK [$c]", 1, "[$to c]", "Route:[$route c]\n")
    + '  <recv request="BYE"/>\n' + answer(200, "OK") + pause(1_500)
    + _referred("BYE [$c]", 2, "[$to c]", "Route:[$route c]\n")
    + expect(200, optional=False, then="end")
)  # fmt: skip

# What rings can be cancelled; SIPp jumps to that branch by itself on a CANCEL it waits for.
_RINGS: Final = (
    '  <label id="rings"/>\n' + answer(180, "Ringing", tagged=True, contact=True)
    + _when("for ever") + _when("unavailable") + _when("declined")
    + '  <recv request="CANCEL" timeout="800" ontimeout="answer" next="cancelled"/>\n'
    + '  <label id="early"/>\n'
    + answer(183, "Session Progress", body=sdp(1), tagged=True, contact=True)
    + '  <recv request="CANCEL" timeout="800" ontimeout="answer" next="cancelled"/>\n'
    + '  <label id="answer"/>\n'
    + answer(200, "OK", body=sdp(1), tagged=True, contact=True, again=True)
    + '  <recv request="ACK">\n    <action>\n'
    + '      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="me"/>\n'
    + '      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="other"/>\n'
    + "    </action>\n  </recv>\n" + _when("hang up")
)  # fmt: skip
_IN_CALL: Final = (
    '  <label id="in call"/>\n'
    + '  <recv request="INVITE" optional="true" next="offered">\n'
    + '    <action><ereg regexp="a=sendonly" search_in="body" assign_to="holds"/></action>\n'
    + '  </recv>\n  <recv request="REFER" optional="true" next="referred">\n'
    + '    <action><ereg regexp="sip:[^?>]*" search_in="hdr" header="Refer-To:"'
    + ' assign_to="target"/>\n      <ereg search_in="hdr" header="Refer-To:"'
    + ' regexp="Replaces=([^%]*)%3Bto-tag%3D([^%]*)%3Bfrom-tag%3D([^>]*)"'
    + ' assign_to="unused,replaced,to tag,from tag"/></action></recv>\n'
    + '  <recv request="BYE"/>\n  <label id="over"/>\n' + answer(200, "OK", then="end")
    + '  <label id="offered"/>\n  <nop next="put on hold" test="holds"/>\n'
    + '  <label id="taken back"/>\n' + answer(200, "OK", body=sdp(3), contact=True)
    + '  <recv request="ACK" next="in call"/>\n'
    + '  <label id="put on hold"/>\n' + answer(200, "OK", body=sdp(2, "recvonly"), contact=True)
    + '  <recv request="ACK"/>\n  <recv request="INVITE" optional="true" next="taken back"/>\n'
    + '  <recv request="BYE" next="over"/>\n'
    + '  <label id="referred"/>\n' + answer(202, "Accepted", contact=True) + _when("refers on")
    + '  <nop next="in call"/>\n  <label id="refers on"/>\n' + _REFERRED
    + '  <label id="hang up"/>\n' + pause(1500)
    + send("""\
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From:[$me]
To:[$other]
Max-Forwards: 70
[routes]
[last_Call-ID:]
CSeq: 7 BYE
Reason: Q.850;cause=16;text="Normal call clearing"
Content-Length: 0

""", again=True)
    + expect(200, optional=False, then="end")
)  # fmt: skip


def _refuses(label: str, code: int, reason: str) -> str:
    return (  # after a while, so that the call can be seen
        f'  <label id="{label}"/>\n' + pause(700)
        + answer(code, reason, tagged=True, again=True) + '  <recv request="ACK" next="end"/>\n'
    )  # fmt: skip


def _reliably(code: int, reason: str, number: int, body: str = "") -> str:
    """A reliable provisional response, sent again until its PRACK comes (RFC 3262 §3)."""
    first = number == 1
    head = f"SIP/2.0 {code} {reason}\nVia:[$via 1]\nVia:[$via 2]\n[last_From:]\n[last_To:]" + (
        ";tag=u[pid]x[call_number]" if first else "") + (
        "\n[last_Call-ID:]\nCSeq: 1 INVITE\n[last_Record-Route:]\n"
        "Contact: <sip:phone@[local_ip]:[local_port]>\nRequire: 100rel\n"
        f"RSeq: {number}\n")  # fmt: skip
    return (
        send(with_body(head, body), again=True)
        + '  <recv request="PRACK"/>\n' + answer(200, "OK") + pause(400)
    )  # fmt: skip


_ENDINGS: Final = (
    '  <label id="challenges"/>\n'
    + answer(407, "Proxy Authentication Required", tagged=True, again=True, extra=(
        'Proxy-Authenticate: Digest realm="lab", nonce="n1", algorithm=MD5\n'))
    + '  <recv request="ACK"/>\n  <recv request="INVITE" rrs="true" next="rings"/>\n'
    + '  <label id="reliable"/>\n' + _reliably(183, "Session Progress", 1, sdp(1))
    + _reliably(180, "Ringing", 2)
    + send(with_body("SIP/2.0 200 OK\nVia:[$via 1]\nVia:[$via 2]\n[last_From:]\n[last_To:]\n"
                       "[last_Call-ID:]\nCSeq: 1 INVITE\n[last_Record-Route:]\n"
                       "Contact: <sip:phone@[local_ip]:[local_port]>\n", ""), again=True)
    + '  <recv request="ACK"/>\n  <nop next="in call"/>\n'
    + '  <label id="for ever"/>\n  <recv request="CANCEL"/>\n  <label id="cancelled"/>\n'
    + answer(200, "OK")
    + send(with_body("SIP/2.0 487 Request Terminated\n" + MIRRORED.format(
        to_tag=";tag=u[pid]x[call_number]").replace("[last_CSeq:]", "CSeq: 1 INVITE"), ""),
        again=True)
    + '  <recv request="ACK" next="end"/>\n'
    + _refuses("busy", 486, "Busy Here") + _refuses("no lines", 503, "Service Unavailable")
    + _refuses("unknown", 404, "Not Found") + _refuses("declined", 603, "Decline")
    + _refuses("unavailable", 480, "Temporarily Unavailable")
    + '  <label id="silent"/>\n' + pause(5000) + '  <label id="end"/>\n' + pause(50)
    + '  <Reference variables="unused"/>\n'
)  # fmt: skip
