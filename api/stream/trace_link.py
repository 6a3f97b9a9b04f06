"""A link from a call to its SIP messages (in Homer, for example), made from the operator's
template. What a caller chose (the Call-ID) comes into it percent-encoded only, and
cannot lead to another address."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from livestate.state.call import Call

AROUND_MS: Final = 60_000  # a trace is wanted with what went before and after
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_NAME_END: Final = re.compile(r"[;\x00]")  # for servers that drop what follows: Tomcat, C strings
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


def link(made_of: str, call: Call, now: int) -> str | None:
    """The address of a call's trace; None where its Call-ID would lead elsewhere. ``now`` is in ms;
    a call that is up lasts until then."""
    begin = call.setup_at if call.setup_at is not None else call.phase_records[0].at
    return link_between(made_of, call.call_id, begin, call.ended_at or now)


def link_between(made_of: str, call_id: str, begin: int, end: int) -> str | None:
    """The same for a call of which only this is known; times are in ms since the epoch."""
    values = {
        "call_id": quote(call_id, safe=""),
        "begin": str(begin - AROUND_MS),
        "end": str(end + AROUND_MS),
    }
    if _climbs(made_of, call_id):
        return None
    return _PLACEHOLDER.sub(lambda found: values[found[1]], made_of)


def _climbs(made_of: str, call_id: str) -> bool:
    """Whether a Call-ID would be more than a part of one step of a path. A browser takes ``%2e%2e``
    for ``..`` too (URL Standard, "double-dot URL path segment"), and a proxy on the way may decode
    ``%2F`` and ``%5C``, once more than it should. Some servers drop what follows a ``;`` or a NUL
    in a step. A value of the query is no step; the fragment is a path to many an application."""
    decoded = call_id
    while "%" in decoded and (again := unquote(decoded)) != decoded:
        decoded = again
    parts = made_of.split("{call_id}")
    return any(
        _is_step("{call_id}".join(parts[:number]), decoded, parts[number])
        for number in range(1, len(parts))
    )


def _is_step(before: str, decoded: str, after: str) -> bool:
    """Whether it would be a step of its own that leads elsewhere, between what stands before and
    after it in the template: in "call-{call_id}" it is not."""
    if "?" in before and "#" not in before:
        return False
    head = before.replace("\\", "/").rpartition("/")[2]
    tail = re.split(r"[/\\?#]", after, maxsplit=1)[0]
    steps = f"{head}{decoded}{tail}".replace("\\", "/").split("/")
    return any(_NAME_END.split(step, maxsplit=1)[0].strip() in ("", ".", "..") for step in steps)
