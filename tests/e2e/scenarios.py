"""What SIPp's phones do, as scenarios of its own language. Pure text.

A caller reads his numbers from a file, a line a call: own number; own domain; number called; its
domain; how long he talks, ms. The last two digits of the number called choose what happens there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CALLER: Final = """\
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}
From: <sip:[field0]@[field1]>;tag=c[pid]x[call_number]
To: <sip:[field2]@[field3]>{to_tag}
Call-ID: [call_id]
CSeq: {cseq}
Max-Forwards: 70
Contact: <sip:[field0]@[local_ip]:[local_port]>
"""
MIRRORED: Final = """\
[last_Via:]
[last_From:]
[last_To:]{to_tag}
[last_Call-ID:]
[last_CSeq:]
"""
SDP: Final = """\
v=0
o=phone {version} {version} IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 30000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a={media}
"""
_OF_INVITE: Final = "[branch of the INVITE]"
REFUSALS: Final = (403, 404, 408, 480, 486, 487, 500, 503, 603)


def caller(name: str) -> str:
    """``talks``, ``waits`` (the other side hangs up), ``cancels``, ``holds`` or ``transfers``."""
    return _document(name, _CALLERS[name])


def callee(*, has_lines: bool) -> str:
    """Any number's other side. ``has_lines``: 04 answers here, elsewhere it is 503."""
    chosen = {label: digits for label, digits in _BEHAVIOUR.items()
              if not (has_lines and label == "no lines")}  # fmt: skip
    noted = "".join(
        f'      <ereg regexp="sip:[0-9]*{digits}@" search_in="hdr" header="To:"'
        f' assign_to="is {label}"/>\n' for label, digits in chosen.items()
    )  # fmt: skip
    return _document("callee", f"""\
  <recv request="INVITE" crlf="true" rrs="true">
    <action>
{noted}    </action>
  </recv>
{"".join(_when(label) for label in chosen if label not in _AFTER_RINGING)}""" + _RINGS + _IN_CALL
    + _ENDINGS)  # fmt: skip


def _document(name: str, body: str) -> str:
    steps = 0
    lines = []
    for line in body.splitlines(keepends=True):
        # SIPp counts back from where it stands: the INVITE is the first step.
        lines.append(line.replace(_OF_INVITE, f"[branch-{steps - 1}]"))
        steps += line.lstrip().startswith(("<send", "<recv", "<nop", "<pause"))
    body = "".join(lines)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{name}">\n{body}</scenario>\n'


def _send(text: str, *, again: bool = False, then: str = "") -> str:
    attributes = ' retrans="500"' * again + (f' next="{then}"' if then else "")
    return f"  <send{attributes}><![CDATA[\n{text}]]></send>\n"


def _with_body(head: str, body: str) -> str:
    if not body:
        return head + "Content-Length: 0\n\n"
    return head + "Content-Type: application/sdp\nContent-Length: [len]\n\n" + body


def _request(
    method: str, cseq: int, *, body: str = "", in_dialog: bool = True, extra: str = "",
    branch: str = "[branch]", again: bool = False,
) -> str:  # fmt: skip
    target = "[next_url]" if in_dialog else "sip:[field2]@[field3]"
    tag = "[peer_tag_param]" if in_dialog or method == "ACK" else ""
    head = f"{method} {target} SIP/2.0\n" + CALLER.format(
        branch=branch, to_tag=tag, cseq=f"{cseq} {method}"
    )
    return _send(_with_body(head + ("[routes]\n" if in_dialog else "") + extra, body), again=again)


def _answer(
    code: int, reason: str, *, body: str = "", tagged: bool = False, contact: bool = False,
    extra: str = "", again: bool = False, then: str = "",
) -> str:  # fmt: skip
    head = f"SIP/2.0 {code} {reason}\n" + MIRRORED.format(
        to_tag=";tag=u[pid]x[call_number]" if tagged else ""
    )
    if contact:
        head += "[last_Record-Route:]\nContact: <sip:phone@[local_ip]:[local_port]>\n"
    return _send(_with_body(head + extra, body), again=again, then=then)


def _expect(*codes: int, optional: bool = True, then: str = "") -> str:
    flags = ' optional="true"' * optional + (f' next="{then}"' if then else "")
    return "".join(f'  <recv response="{code}"{flags}/>\n' for code in codes)


def _pause(ms: int) -> str:
    return f'  <pause milliseconds="{ms}"/>\n'


def _sdp(version: int, media: str = "sendrecv") -> str:
    return SDP.format(version=version, media=media)


_TALK: Final = """\
  <nop><action><assignstr assign_to="s" value="[field4]"/>
    <todouble assign_to="d" variable="s"/></action></nop>
  <pause variable="d"/>
"""
_INVITE: Final = _request("INVITE", 1, body=_sdp(1), in_dialog=False, again=True)
_ANSWERED: Final = (
    _INVITE + _expect(100, 180, 181, 183) + _expect(*REFUSALS, then="refused")
    + '  <recv response="200" rrs="true"/>\n' + _request("ACK", 1)
)  # fmt: skip
_REFUSED: Final = (
    '  <nop next="end"/>\n  <label id="refused"/>\n'
    + _request("ACK", 1, in_dialog=False, branch=_OF_INVITE)
    + '  <label id="end"/>\n' + _pause(20)
)  # fmt: skip


def _bye(cseq: int) -> str:
    return _request("BYE", cseq, again=True) + _expect(200, optional=False)


def _reinvite(cseq: int, media: str) -> str:
    return (
        _request("INVITE", cseq, body=_sdp(cseq, media), again=True)
        + _expect(100) + _expect(200, optional=False) + _request("ACK", cseq)
    )  # fmt: skip


_CALLERS: Final[Mapping[str, str]] = {
    "talks": _ANSWERED + _TALK + _bye(2) + _REFUSED,
    "waits": _ANSWERED + '  <recv request="BYE" timeout="60000"/>\n' + _answer(200, "OK")
             + _REFUSED,
    "cancels": _INVITE + _expect(100) + _expect(180, optional=False) + _TALK
               + _request("CANCEL", 1, in_dialog=False, branch=_OF_INVITE)
               + _expect(200, optional=False) + _expect(487, optional=False)
               + _request("ACK", 1, in_dialog=False, branch=_OF_INVITE) + _pause(20),
    "holds": _ANSWERED + _TALK + _reinvite(2, "sendonly") + _TALK + _reinvite(3, "sendrecv")
             + _TALK + _bye(4) + _REFUSED,
    "transfers": _ANSWERED + _TALK
                 + _request("REFER", 2, extra="Refer-To: <sip:4420799900@127.0.0.1>\n", again=True)
                 + _expect(100) + _expect(202, optional=False) + _TALK + _bye(3) + _REFUSED,
}  # fmt: skip

_BEHAVIOUR: Final[Mapping[str, str]] = {
    "early": "01", "busy": "02", "for ever": "03", "no lines": "04", "unknown": "05",
    "hang up": "06", "unavailable": "07", "declined": "08", "silent": "09",
}  # fmt: skip
_AFTER_RINGING: Final = ("for ever", "unavailable", "declined", "hang up")


def _when(label: str) -> str:
    return f'  <nop next="{label}" test="is {label}"/>\n'


# What rings can be cancelled; SIPp jumps to that branch by itself on a CANCEL it waits for.
_RINGS: Final = (
    _answer(180, "Ringing", tagged=True, contact=True)
    + _when("for ever") + _when("unavailable") + _when("declined")
    + '  <recv request="CANCEL" timeout="800" ontimeout="answer" next="cancelled"/>\n'
    + '  <label id="early"/>\n'
    + _answer(183, "Session Progress", body=_sdp(1), tagged=True, contact=True)
    + '  <recv request="CANCEL" timeout="800" ontimeout="answer" next="cancelled"/>\n'
    + '  <label id="answer"/>\n'
    + _answer(200, "OK", body=_sdp(1), tagged=True, contact=True, again=True)
    + '  <recv request="ACK">\n    <action>\n'
    + '      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="me"/>\n'
    + '      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="other"/>\n'
    + "    </action>\n  </recv>\n" + _when("hang up")
)  # fmt: skip
_IN_CALL: Final = (
    '  <label id="in call"/>\n'
    + '  <recv request="INVITE" optional="true" next="offered">\n'
    + '    <action><ereg regexp="a=sendonly" search_in="body" assign_to="holds"/></action>\n'
    + '  </recv>\n  <recv request="REFER" optional="true" next="referred"/>\n'
    + '  <recv request="BYE"/>\n  <label id="over"/>\n' + _answer(200, "OK", then="end")
    + '  <label id="offered"/>\n  <nop next="put on hold" test="holds"/>\n'
    + '  <label id="taken back"/>\n' + _answer(200, "OK", body=_sdp(3), contact=True)
    + '  <recv request="ACK" next="in call"/>\n'
    + '  <label id="put on hold"/>\n' + _answer(200, "OK", body=_sdp(2, "recvonly"), contact=True)
    + '  <recv request="ACK"/>\n  <recv request="INVITE" optional="true" next="taken back"/>\n'
    + '  <recv request="BYE" next="over"/>\n'
    + '  <label id="referred"/>\n' + _answer(202, "Accepted", contact=True, then="in call")
    + '  <label id="hang up"/>\n' + _pause(1500)
    + _send("""\
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
    + _expect(200, optional=False, then="end")
)  # fmt: skip


def _refuses(label: str, code: int, reason: str) -> str:
    return (  # after a while, or nobody could have seen the call
        f'  <label id="{label}"/>\n' + _pause(700)
        + _answer(code, reason, tagged=True, again=True) + '  <recv request="ACK" next="end"/>\n'
    )  # fmt: skip


_ENDINGS: Final = (
    '  <label id="for ever"/>\n  <recv request="CANCEL"/>\n  <label id="cancelled"/>\n'
    + _answer(200, "OK")
    + _send(_with_body("SIP/2.0 487 Request Terminated\n" + MIRRORED.format(
        to_tag=";tag=u[pid]x[call_number]").replace("[last_CSeq:]", "CSeq: 1 INVITE"), ""),
        again=True)
    + '  <recv request="ACK" next="end"/>\n'
    + _refuses("busy", 486, "Busy Here") + _refuses("no lines", 503, "Service Unavailable")
    + _refuses("unknown", 404, "Not Found") + _refuses("declined", 603, "Decline")
    + _refuses("unavailable", 480, "Temporarily Unavailable")
    + '  <label id="silent"/>\n' + _pause(5000) + '  <label id="end"/>\n' + _pause(50)
)  # fmt: skip
