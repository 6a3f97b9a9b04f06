"""The request headers that the service reads, parsed in one pass over their bytes.

werkzeug parses ``Cookie``, ``Accept``, ``If-None-Match`` and others with patterns that search
again from every position: 15 KB of spaces take seconds, during which the one thread serves no
client. So
:func:`only_used` removes every header that no code of ours reads, bounds the others, and hands on
no value that a slow parser could meet; ``api/http/request.py`` calls it for each request, before
Quart or ``fast_accept`` see it. What is left to parse is parsed here, by :func:`cookies` and
:func:`quality`, whose time grows with the length of the value and not with its square.

Pure functions. Nothing here waits or logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

LOGIN_NAME: Final = "livestate"
PENDING_NAME: Final = "livestate-login"  # a login at the provider that is under way
# RFC 6265bis §4.1.3. api/http/site.py chooses one.
HOST_PREFIX, SECURE_PREFIX = "__Host-", "__Secure-"
LOGIN_COOKIE: Final = HOST_PREFIX + LOGIN_NAME
_COOKIES: Final = tuple(
    prefix + name for name in (LOGIN_NAME, PENDING_NAME) for prefix in (HOST_PREFIX, SECURE_PREFIX)
)
MAX_VALUE_BYTES: Final = 16 * 1024  # of a Cookie: those of other applications are in it
MAX_LIST_BYTES: Final = 8 * 1024  # of an Accept, an Accept-Encoding: a browser's has 200
MAX_TARGET_BYTES: Final = 64 * 1024
MAX_HEADERS: Final = 100  # a browser sends about 20, a chain of proxies adds a dozen
# Header → the longest value that is handed on; a longer one is answered by 431. An Authorization
# may be as long as h11 lets it in: a token that is too long has its own 401.
_USED: Final = {
    b"host": 512, b"connection": 1024, b"content-length": 64, b"transfer-encoding": 64,
    b"expect": 64, b"content-type": MAX_LIST_BYTES, b"authorization": 2**20,
    b"cookie": MAX_VALUE_BYTES, b"accept": MAX_LIST_BYTES, b"accept-encoding": MAX_LIST_BYTES,
    b"accept-language": MAX_LIST_BYTES,
    b"last-event-id": 2**20, b"origin": 1024, b"sec-fetch-dest": 64, b"sec-fetch-site": 64,
    b"access-control-request-method": 64,
    b"x-forwarded-for": MAX_VALUE_BYTES, b"if-none-match": MAX_LIST_BYTES,
    b"if-modified-since": 1024,
}  # fmt: skip
# RFC 9110 §8.8.3. A list of tags as browsers and proxies send it; werkzeug's pattern is quadratic
# in spaces, so anything else counts as absent, which costs the client a whole answer.
_TAG: Final = rb'(?:W/)?"[\x21\x23-\x7e]{1,128}"'
_TAGS: Final = re.compile(rb"\*|%b(?:, ?%b){0,7}" % (_TAG, _TAG))
_DATE: Final = re.compile(rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")
_WRITTEN: Final = {b"if-none-match": _TAGS, b"if-modified-since": _DATE}
# RFC 7515 §3.1: a JWT is base64url in three parts. A quote, a comma or a backslash is no login.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")
# RFC 9110 §12.4.2; without the leading 0 as Java's HttpURLConnection writes it, and with more than
# three digits as programs write it that divide.
_Q: Final = re.compile(r"[qQ]=(0?\.[0-9]{1,18}|0\.?|1(?:\.0{0,18})?)")


class TooLarge(ValueError):
    """A header is longer than it can be for a good reason; the answer is 431."""


def only_used(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that the service reads, each in a form that no parser is slow on.

    ``headers`` are (lower-case name, value) as h11 gives them. Cookies of others are removed, a
    ``Content-Type`` loses its parameters, conditions that are not plainly written are dropped.
    Raises :class:`TooLarge`.
    """
    kept = []
    for count, (name, value) in enumerate(headers, 1):
        if count > MAX_HEADERS:
            raise TooLarge(f"more than {MAX_HEADERS} headers")
        most = _USED.get(name)
        if most is None:
            continue
        if len(value) > most:
            raise TooLarge(name.decode())
        if name == b"cookie":
            value = b"; ".join(
                b"%b=%b" % (name_of_ours.encode(), login.encode("latin1"))
                for name_of_ours in _COOKIES
                for login in cookies([value.decode("latin1")], name_of_ours)
            )
            if not value:
                continue
        elif name == b"content-type":
            value = value.partition(b";")[0].strip(b" \t")
        elif name in _WRITTEN and not _WRITTEN[name].fullmatch(value):
            continue
        kept.append((name, value))
    return kept


def cookies(values: Iterable[str], name: str) -> list[str]:
    """The different tokens that a request's ``Cookie`` headers give under ``name``.

    A cookie string is cut at semicolons and nothing else (RFC 6265 §5.4, as browsers write it): a
    quote does not hide or join cookies, so a sibling domain's ``a="`` cannot swallow ours. Names
    are compared byte by byte, with only space and tab around them removed: browsers let another
    site of the domain set a name that begins with U+0085 or U+00A0, which ``str.strip`` would
    turn into ours (PortSwigger, "Cookie Chaos", 2025). Values that cannot be a token count as
    absent.
    """
    found: dict[str, None] = {}
    for value in values:
        for pair in value.split(";"):
            key, equals, token = pair.partition("=")
            if equals and key.strip(" \t") == name:
                token = token.strip(" \t")
                if _TOKEN.fullmatch(token):
                    found[token] = None
    return list(found)


def listed(values: Iterable[str], token: str) -> bool:
    """Whether a list such as ``Connection`` has ``token``, in any case (RFC 9110 §5.6.1)."""
    return any(part.strip(" \t").lower() == token for value in values for part in value.split(","))


def quality(values: Iterable[str], wanted: str) -> float:
    """How much a list such as ``Accept`` wants ``wanted``: 0 to 1 (RFC 9110 §12.4.2).

    The most specific entry decides: the name itself, then ``type/*``, then ``*`` or ``*/*``.
    An entry whose weight is not a number counts as absent.
    """
    kind = wanted.partition("/")[0] + "/*" if "/" in wanted else None
    ranks = {wanted: 3, kind: 2, "*/*": 1, "*": 1}
    best, weight = 0, 0.0
    for entry, q in _entries(values):
        rank = ranks.get(entry, 0)
        if rank > best or (rank == best and rank and q > weight):
            best, weight = rank, q
    return weight


def _entries(values: Iterable[str]) -> Iterator[tuple[str, float]]:
    for value in values:
        for part in value.split(","):
            name, *parameters = part.split(";")
            q = 1.0
            for parameter in parameters:
                parameter = parameter.strip(" \t")
                if parameter[:2] in ("q=", "Q="):
                    found = _Q.fullmatch(parameter)
                    if found is None:
                        break
                    q = float(found[1])
            else:
                yield name.strip(" \t").lower(), q
