"""Says how a call ended, from its final SIP response and its cause.

The translation of events calls :func:`outcome`. docs/decisions/0015 explains what each outcome
means in the key figures. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from livestate.contract.events import CHALLENGES
from livestate.contract.messages import Message

# Of a call that was never answered, by its final response (RFC 3261 §21). Every other 3xx is a
# redirection, every other code a failure.
_OF_CODE: Final[Mapping[int, str]] = {
    **dict.fromkeys(CHALLENGES, "challenged"),
    486: "busy", 600: "busy", 603: "declined", 607: "declined", 480: "unavailable",
    404: "invalid_number", 410: "invalid_number", 484: "invalid_number", 604: "invalid_number",
    500: "congestion", 502: "congestion", 503: "congestion", 504: "congestion",
    487: "canceled", 408: "no_answer",
}  # fmt: skip
_OF_CAUSE: Final[Mapping[str, str]] = {
    "timeout_ringing": "no_answer",
    "timeout_no_reply": "no_reply",
    "caller": "canceled",  # whatever came after the CANCEL: a 487, another response, or nothing
}
_REFUSED_CREDENTIALS: Final = "credentials refused"  # detail of a second challenge of one INVITE


def outcome(phase: str, message: Message) -> str:
    """The outcome of a call whose terminal event (``ended`` or ``failed``) has these fields."""
    detail = message.get("detail")
    if phase == "ended":
        return str(detail) if detail in ("expired", "terminated") else "answered"
    code = message.get("sip_code", 0)
    if "dialog" not in message:  # the proxy refused it
        return "challenged" if code in CHALLENGES else "rejected_local"
    if code in CHALLENGES and detail == _REFUSED_CREDENTIALS:
        return "failed"
    if found := _OF_CAUSE.get(message.get("by", "")) or _OF_CODE.get(code):
        return found
    return "redirected" if 300 <= code <= 399 else "failed"
