"""Types of settings: each validator returns the text's value or raises ValueError.

The error's text completes the sentence "it must be …", which ``api/environment.py`` shows with the
variable's name. It never contains the value: that may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from api.auth.claim_paths import parse_path, parse_role_map
from api.auth.session_store import parse_key
from api.http.address import networks
from api.http.listener import MAX_SOCKET_PATH_BYTES, socket_path
from api.stream.trace_link import template
from livestate.contract.subjects import Subjects, paired
from livestate.nats.url import RIGHT_INBOX, is_inbox
from livestate.nats.url import parse as parse_nats
from livestate.redis.url import parse as parse_redis
from livestate.state.kpi.hints import parse as parse_hints
from livestate.store.keys import Keys

MIN_TOKEN_LENGTH: Final = 16


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("an address such as 127.0.0.1:8080 or [::1]:8080")
    return text


def _bind(text: str) -> str:
    """An address, or the path of a unix socket."""
    path = socket_path(text)
    if path is None:
        return _address(text)
    if not path.startswith("/") or len(path.encode()) > MAX_SOCKET_PATH_BYTES:
        raise ValueError(
            f"unix: and an absolute path of at most {MAX_SOCKET_PATH_BYTES} bytes, such as "
            "unix:/run/livestate/http.sock"
        )
    return text


def url(*schemes: str) -> BeforeValidator:
    """A URL with one of the schemes, a host and a port that is a number."""

    def parse(text: str) -> str:
        if not _is_url(text.strip(), schemes):
            raise ValueError(
                f"a URL that starts with {' or '.join(s + '://' for s in schemes)}, with a "
                "host and a port; a password is percent-encoded in it"
            )
        return text

    return BeforeValidator(parse)


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    """Whether a client library will accept it. The library's own error contains a part of the
    password."""
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number: a password with a "/" ends this way
        return False


def _checked_by(check: Callable[[str], object]) -> BeforeValidator:
    """The text unchanged, if ``check`` raises nothing."""

    def parse(text: str) -> str:
        check(text)
        return text

    return BeforeValidator(parse)


def _inbox(text: str) -> str:
    if not is_inbox(text):
        raise ValueError(RIGHT_INBOX)
    return text


def _proxies(text: str) -> str:
    try:
        networks(text)
    except ValueError:
        raise ValueError("addresses or blocks such as 127.0.0.1,10.0.0.0/8") from None
    return text


def _token(text: str) -> str:
    if len(text) < MIN_TOKEN_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"at least {MIN_TOKEN_LENGTH} printable ASCII characters without spaces")
    return text


def _scopes(text: str) -> str:
    if "openid" not in text.split():
        raise ValueError("scopes separated by spaces, 'openid' among them")
    return text


_PUBLIC_URL: Final = re.compile(r"https?://[^/?#@*\s]+(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?")


def _public_url(text: str) -> str:
    if not _PUBLIC_URL.fullmatch(text) or not _is_url(text, ("http", "https")):
        raise ValueError("an address such as https://noc.example or https://noc.example/live")
    return text.rstrip("/")


def _origins(text: str) -> str:
    """Origins as browsers write them (RFC 6454 §6.2)."""
    found = [one.strip().lower() for one in text.split(",")]
    for one in found:
        if urlsplit(one).path or not _PUBLIC_URL.fullmatch(one):
            raise ValueError(
                "origins such as https://portal.example:8443, separated by commas, without a "
                "path; never *, because what they read is allowed by a cookie"
            )
    return ",".join(found)


def number(least: float, most: float, unit: str) -> BeforeValidator:
    """A number of ``unit`` between two bounds; NaN is outside."""

    def parse(text: str | float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise ValueError(f"a number of {unit} from {least:g} to {most:g}")
        return value

    return BeforeValidator(parse)


def count(least: int, most: int) -> BeforeValidator:
    """A whole number between two bounds, in ASCII digits."""

    def parse(text: str | int) -> int:
        digits = str(text)
        if not (digits.isascii() and digits.isdigit()) or not least <= int(digits) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(digits)

    return BeforeValidator(parse)


def _country(text: str) -> str:
    from api.panels.numbering import known_countries

    if not (len(text) == 2 and text.isascii() and text.isalpha()):
        raise ValueError("a country of two letters (ISO 3166-1), such as IT")
    if text.upper() not in known_countries():  # UK is GB: every national number would be unknown
        raise ValueError("a country with telephone numbers, by ISO 3166-1: IT, GB, DE and so on")
    return text.upper()


def _countries(text: str) -> str:
    """A list of countries, each once; empty: none."""
    found = dict.fromkeys(_country(one.strip()) for one in text.split(",") if one.strip())
    return ",".join(found)


def one_of(*values: str) -> BeforeValidator:
    """One of the texts."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return text

    return BeforeValidator(parse)


Hints = Annotated[str, _checked_by(parse_hints)]
Countries = Annotated[str, BeforeValidator(_countries)]
Country = Annotated[str, BeforeValidator(_country)]
Address = Annotated[str, BeforeValidator(_address)]
NatsUrl = Annotated[str, _checked_by(parse_nats)]
Subject = Annotated[str, _checked_by(Subjects)]
Pairs = Annotated[str, _checked_by(paired)]
Inbox = Annotated[str, BeforeValidator(_inbox)]
RedisUrl = Annotated[str, _checked_by(parse_redis)]
Prefix = Annotated[str, _checked_by(Keys)]
OtlpUrl = Annotated[str, url("http", "https")]
Proxies = Annotated[str, BeforeValidator(_proxies)]
Token = Annotated[str, BeforeValidator(_token)]
TraceUrl = Annotated[str, BeforeValidator(template)]
ClaimPath = Annotated[str, BeforeValidator(parse_path)]
RoleMap = Annotated[str, _checked_by(lambda text: parse_role_map(text) if text else None)]
Scopes = Annotated[str, BeforeValidator(_scopes)]
Bind = Annotated[str, BeforeValidator(_bind)]
PublicUrl = Annotated[str, BeforeValidator(_public_url)]
Origins = Annotated[str, BeforeValidator(_origins)]
SessionKey = Annotated[str, BeforeValidator(parse_key)]
