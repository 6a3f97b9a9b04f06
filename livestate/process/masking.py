"""Hides the secrets of URLs in text that people may see: logs, errors, ``doctor``, ``/statusz``.

A URL carries a secret in its userinfo (``redis://user:password@host``, ``nats://token@host``) or in
its query (``?password=``, ``?access_token=``). People also put passwords into URLs without
percent-encoding them, so userinfo is taken up to the *last* ``@`` wherever what stands before an
earlier delimiter is no host and port (RFC 3986 §3.2).

Libraries also print a secret without a URL around it: ``user:password@host``, ``password=…``,
``{"token": "…"}``, ``Authorization: Bearer …``. Those are masked too. A SIP URI
(``sip:user@host``) and a caller's address (``user@host``) stay.

The text may be a stranger's: everything here takes time in proportion to its length.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Final

SIGN: Final = "***"

_SCHEME_SIGNS: Final = frozenset(string.ascii_letters + string.digits + "+.-")  # RFC 3986 §3.1
# Of several URLs in one text. A comma may also be part of a password: only one before a URL counts.
_SEPARATORS: Final = frozenset(",;|" + string.whitespace)
_AUTHORITY: Final = re.compile(r"[^/?#\\\s]*")
# With what may follow a URL in a sentence.
_HOST_AND_PORT: Final = re.compile(
    r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s:@/\[\]]*)(?::\d{1,5})?[\"'`)\],;.:>]*"
)
# Only a URL of the web has an ``@`` behind its authority for reasons of its own.
_WEB: Final = frozenset({"http", "https", "ws", "wss"})
_PARAMETER: Final = re.compile(r"([?&;#])([^=&;#?\s]*)=[^&;#\s]*")
_TELLING: Final = re.compile("pass|pwd?|secret|token|key|auth|sig|cred|jwt|code", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s")

# Without a URL: names that only secrets have. The short ones stand alone, because "bypass" is none;
# "key" and "code" are names of our own log lines.
_BEFORE: Final = r"(?<![\w-])"
_PASSWORD: Final = rf"{_BEFORE}[\w-]{{0,64}}(?:passw(?:or)?d|passphrase|secret)"
_SECRET: Final = (
    rf"(?:{_BEFORE}(?:[\w-]{{0,64}}[_-])?(?:pw|pass|auth|jwt|(?:api|access|private)[_-]?key)"
    rf"|{_BEFORE}[\w-]{{0,64}}(?:passw(?:or)?d|passphrase|pwd|secret|token|credentials?))"
)
_HEADERS: Final = (
    r"\b(?:(?:proxy-)?authorization|(?:set-)?cookie|api-key"
    r"|x-(?:[a-z]{1,16}-){0,3}(?:key|token|secret))"
)
_QUOTED: Final = r"\"(?:[^\"\\]|\\.){0,512}\"|'(?:[^'\\]|\\.){0,512}'"
_GAP: Final = r"[ \t]{0,3}"
_SHAPES: Final = tuple(
    re.compile(f"(?P<kept>{kept}){value}", re.IGNORECASE)
    for kept, value in (
        (rf"{_SECRET}{_GAP}={_GAP}", rf"(?:{_QUOTED}|[^\s&;]+)"),
        (rf"{_SECRET}[\"']{_GAP}:{_GAP}", rf"(?:b?(?:{_QUOTED})|[^\s,}}]+)"),  # JSON, a dict
        (rf"{_PASSWORD}:[ \t]{{1,3}}", r"\S+(?=[ \t]{0,8}(?:$|[\r\n]))"),  # YAML, to the line's end
        (r"\b(?:requirepass|masterauth)[ \t]{1,3}|--pass(?:word)?[ \t]{1,3}", r"\S+"),
        (rf"{_HEADERS}[\"']?{_GAP}:{_GAP}", r"[^\r\n]+"),
        (r"\b(?:bearer|basic) ", r"[\w.~+/=-]{20,}"),
        (r"\beyJ", r"[\w-]{4,}\.[\w-]+(?:\.[\w-]*)*"),  # a JWT (RFC 7515 §3.1)
    )
)
# One of these stands in whatever fits a shape: most lines of a log are done at the price of this.
_HINTS: Final = ("pass", "pw", "auth", "key", "secret", "token", "jwt", "cred", "cookie", "bearer",
                 "basic", "eyj")  # fmt: skip
# Before a colon these are no user: a scheme without "//", or a header of SIP.
_NO_USER: Final = frozenset(
    {"sip", "sips", "tel", "mailto", "im", "pres", "xmpp", "acct", "cid", "mid", "urn",
     "from", "to", "contact", "via", "route", "call-id"}
)  # fmt: skip
_USER_SIGNS: Final = string.ascii_letters + string.digits + "_.%+~$!*-"
_WORD: Final = re.compile(r"\S+")
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[\w.-]+|/")


def masked(text: str) -> str:
    """``text`` with the secrets in it replaced by ``***``. Idempotent."""
    text = _without_urls_secrets(text)
    small = text.lower()
    if any(hint in small for hint in _HINTS):
        for shape in _SHAPES:
            text = shape.sub(_hidden_value, text)
    return text


def _hidden_value(found: re.Match[str]) -> str:
    return f"{found['kept']}{SIGN}"


def _without_userinfo(text: str) -> str:
    """The same for ``user:password@host`` where no URL is around it, also percent-encoded."""
    return _WORD.sub(_word_without_userinfo, text) if "@" in text or "%40" in text else text


def _word_without_userinfo(found: re.Match[str]) -> str:
    word = found[0]
    for at_sign, colon_sign in (("@", ":"), ("%40", "%3a")):
        at = word.rfind(at_sign)
        if at < 0 or _HOST.match(word, at + len(at_sign)) is None:
            continue
        begin = _password_begins(word[:at], colon_sign)
        if begin is not None:
            word = f"{word[:begin]}{SIGN}{word[at:]}"
    return word


def _password_begins(before: str, sign: str) -> int | None:
    """Where in the text before an ``@``; None if there is no password in it."""
    small = before.lower()
    begin = 0
    while (colon := small.find(sign, begin)) >= 0:
        name = small[begin:colon]
        user = name[len(name.rstrip(_USER_SIGNS)) :]
        begin = colon + len(sign)
        quotes = name[-1:] + before[begin : begin + 1]  # as around the colons of JSON
        if user not in _NO_USER and begin < len(before) and '"' not in quotes and "'" not in quotes:
            return begin
    return None


def _without_urls_secrets(text: str) -> str:
    """The userinfo and the parameters of each URL, and what stands between them."""
    urls = list(_urls(text))
    ends = [begin for begin, _, _ in urls[1:]] + [len(text)]
    pieces = [_without_userinfo(text[: urls[0][0]] if urls else text)]
    for (begin, colon, after), end in zip(urls, ends, strict=True) if urls else ():
        rest = _without_secrets(text[begin:colon], text[after:end])
        space = _SPACE.search(rest)
        if space is not None:  # what follows is a sentence around the URL
            rest = rest[: space.start()] + _without_userinfo(rest[space.start() :])
        pieces.append(f"{text[begin:after]}{rest}")
    return "".join(pieces)


def _urls(text: str) -> Iterator[tuple[int, int, int]]:
    """Where each URL's scheme begins and ends, and where what follows its ``://`` begins. A
    mistyped URL holds a secret too: ``redis:/user:…@host``, ``redis ://user:…@host``."""
    earlier = 0
    at = text.find(":/")
    while at >= 0:
        after = at + 3 if text.startswith("//", at + 1) else at + 2
        begin = at
        while begin > earlier and text[begin - 1] in _SCHEME_SIGNS:
            begin -= 1
        # Inside another one it is a part of that, unless a separator stands before it.
        apart = not earlier or (text[begin - 1] in _SEPARATORS and after == at + 3)
        if apart and (begin < at or after == at + 3):
            yield begin, at, after
            earlier = after
        at = text.find(":/", after)


def _without_secrets(scheme: str, rest: str) -> str:
    """``rest`` is what follows ``scheme://``, up to the next URL: perhaps more than this one."""
    authority = _AUTHORITY.match(rest)
    end = authority.end() if authority is not None else 0
    host = rest[:end].rpartition("@")[2]
    sound = (
        _HOST_AND_PORT.fullmatch(host) is not None
        and not (host.endswith(":") and rest[end : end + 1] in ("/", "?", "#"))  # no port
        and (host != "" or rest[:end] == "" or scheme.lower() not in _WEB)
    )
    if not sound:
        end = max(end, rest.rfind("@"))  # a password with a "/", "?", "#" or space in it
    elif scheme.lower() not in _WEB or "@" in rest[:end]:
        space = _SPACE.search(rest)
        end = max(end, rest.rfind("@", 0, space.start() if space is not None else len(rest)))
    if any(_TELLING.search(found[0]) for found in _PARAMETER.finditer(rest, 0, end)):
        # Whether the "@" is the userinfo's or of this parameter's value cannot be known.
        space = _SPACE.search(rest, end)
        return SIGN + (rest[space.start() :] if space is not None else "")
    userinfo, at, host = rest[:end].rpartition("@")
    if rest[end : end + 1] == "@":
        userinfo, at, host, end = rest[:end], "@", "", end + 1
    if not at and not sound:  # cut off before its host, or what was meant is unclear
        space = _SPACE.search(rest, end)
        end = space.start() if space is not None else len(rest)
        userinfo, host = rest[:end], ""
    if userinfo:
        user, colon, password = userinfo.partition(":")
        # A user's name helps the reader. Without a password it may itself be a token.
        shown = f"{user}{colon}{SIGN}" if password else SIGN
        rest = f"{shown}{at}{host}{rest[end:]}"
    return _PARAMETER.sub(_hidden, rest)


def _hidden(parameter: re.Match[str]) -> str:
    sign, name = parameter.groups()
    return f"{sign}{name}={SIGN}" if _TELLING.search(name) else parameter[0]
