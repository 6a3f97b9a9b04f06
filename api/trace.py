"""The way on from a call to its SIP messages, in Homer or whatever else keeps them: a link made of
the operator's template. What a caller chose (the Call-ID) comes into it percent-encoded only."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlsplit

from livestate.call import Call

AROUND_MS: Final = 60_000  # a trace is wanted with what went before and after
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
PLACEHOLDERS: Final = frozenset({"call_id", "begin", "end"})


def template(text: str) -> str:
    """Checks a template; ValueError tells what it must be."""
    if not _fits(text):
        raise ValueError(
            "an http(s) URL with {call_id}, and {begin} and {end} if you like, after its host "
            "(other braces are %7B and %7D)"
        )
    return text


def _fits(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return False
    rest = _PLACEHOLDER.sub("", text)
    return (
        parts.scheme in ("http", "https")
        and bool(host)
        and text.isprintable()
        and not any(sign in parts.netloc + rest for sign in "{} ")
        and "call_id" in (found := set(_PLACEHOLDER.findall(text)))
        and found <= PLACEHOLDERS
    )


def link(made_of: str, call: Call, now: int) -> str:
    """The address of a call's trace. ``now`` is in ms; a call that is up lasts until then."""
    begin = call.setup_at if call.setup_at is not None else call.marks[0].at
    values = {
        "call_id": quote(call.call_id, safe=""),
        "begin": str(begin - AROUND_MS),
        "end": str((call.ended_at or now) + AROUND_MS),
    }
    return _PLACEHOLDER.sub(lambda found: values[found[1]], made_of)
