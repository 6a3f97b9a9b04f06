"""Pieces of SIPp's scenarios: a document, requests, responses, SDP, pauses. Pure text."""

from __future__ import annotations

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
OF_INVITE: Final = "[branch of the INVITE]"
REFUSALS: Final = (403, 404, 408, 480, 486, 487, 500, 503, 603)


def document(name: str, body: str) -> str:
    steps = 0
    lines = []
    for line in body.splitlines(keepends=True):
        # SIPp counts back from where it stands: the INVITE is the first step.
        lines.append(line.replace(OF_INVITE, f"[branch-{steps - 1}]"))
        steps += line.lstrip().startswith(("<send", "<recv", "<nop", "<pause"))
    body = "".join(lines)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{name}">\n{body}</scenario>\n'


def send(text: str, *, again: bool = False, then: str = "") -> str:
    attributes = ' retrans="500"' * again + (f' next="{then}"' if then else "")
    return f"  <send{attributes}><![CDATA[\n{text}]]></send>\n"


def with_body(head: str, body: str) -> str:
    if not body:
        return head + "Content-Length: 0\n\n"
    return head + "Content-Type: application/sdp\nContent-Length: [len]\n\n" + body


def request(
    method: str, cseq: int, *, body: str = "", in_dialog: bool = True, extra: str = "",
    branch: str = "[branch]", again: bool = False,
) -> str:  # fmt: skip
    target = "[next_url]" if in_dialog else "sip:[field2]@[field3]"
    tag = "[peer_tag_param]" if in_dialog or method == "ACK" else ""
    head = f"{method} {target} SIP/2.0\n" + CALLER.format(
        branch=branch, to_tag=tag, cseq=f"{cseq} {method}"
    )
    return send(with_body(head + ("[routes]\n" if in_dialog else "") + extra, body), again=again)


def answer(
    code: int, reason: str, *, body: str = "", tagged: bool = False, contact: bool = False,
    extra: str = "", again: bool = False, then: str = "",
) -> str:  # fmt: skip
    head = f"SIP/2.0 {code} {reason}\n" + MIRRORED.format(
        to_tag=";tag=u[pid]x[call_number]" if tagged else ""
    )
    if contact:
        head += "[last_Record-Route:]\nContact: <sip:phone@[local_ip]:[local_port]>\n"
    return send(with_body(head + extra, body), again=again, then=then)


def expect(*codes: int, optional: bool = True, then: str = "") -> str:
    flags = ' optional="true"' * optional + (f' next="{then}"' if then else "")
    return "".join(f'  <recv response="{code}"{flags}/>\n' for code in codes)


def pause(ms: int) -> str:
    return f'  <pause milliseconds="{ms}"/>\n'


def sdp(version: int, media: str = "sendrecv") -> str:
    return SDP.format(version=version, media=media)
