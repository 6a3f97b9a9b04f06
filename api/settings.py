"""Settings: the environment, once, into one frozen value. ``docs/settings.md`` is made from it.

Only the composition root and the commands read this; everything else gets arguments.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final
from urllib.parse import urlsplit

from api.address import networks
from api.trace import template

PREFIX: Final = "LIVESTATE_"
BRIDGE_PREFIX: Final = "LIVESTATE_BRIDGE_"  # the options of `livestate bridge`


class SettingsError(Exception):
    """Every setting that is wrong, a line each: name, value, what would be right."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("an address such as 127.0.0.1:8080")
    return text


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if urlsplit(text).scheme not in schemes:
            raise ValueError(f"a URL that starts with {' or '.join(s + '://' for s in schemes)}")
        return text

    return parse


def _between(least: float, most: float, unit: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"a number of {unit} from {least:g} to {most:g}")
        return number

    return parse


def _count(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def _networks(text: str) -> str:
    try:
        networks(text)
    except ValueError:
        raise ValueError("addresses or blocks such as 127.0.0.1,10.0.0.0/8") from None
    return text


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return text

    return parse


def _setting(default: Any, parse: Callable[[str], Any], doc: str) -> Any:
    return field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says; each is ``LIVESTATE_`` and the field's name in capitals."""

    bind: str = _setting(
        "127.0.0.1:8080", _address, "Where the page and the API are served; put Caddy before it."
    )
    admin_bind: str = _setting(
        "127.0.0.1:9090",
        _address,
        "Where `/healthz`, `/readyz`, `/statusz` and `/metrics` are served: never to the outside.",
    )
    nats_url: str = _setting(
        "nats://127.0.0.1:4222", _url("nats", "tls"), "The NATS server that brings `call.events.>`."
    )
    nats_creds: str | None = _setting(
        None, str, "A NATS credentials file for an account that may subscribe only."
    )
    redis_url: str = _setting(
        "redis://127.0.0.1:6379/0",
        _url("redis", "rediss", "unix"),
        "The Redis or Valkey that holds `active_calls`.",
    )
    jwt_jwks: str | None = _setting(
        None,
        str,
        "The keys that sign logins: a JWKS (RFC 7517) as a file or an http(s) URL. "
        "Without it nobody can log in.",
    )
    jwt_issuer: str = _setting("livestate-demo", str, "The `iss` that a token must carry.")
    jwt_audience: str = _setting("livestate", str, "The `aud` that a token must carry.")
    jwt_role_claim: str = _setting("role", str, "The claim that holds the role.")
    jwt_company_claim: str = _setting("company_id", str, "The claim that holds a user's company.")
    revoked: str | None = _setting(
        None,
        str,
        "A file with a revoked token id (`jti`) or subject (`sub`) a line, read again "
        "when it changes: their streams end within 5 s.",
    )
    tick_ms: float = _setting(
        100.0,
        _between(5, 1000, "milliseconds"),
        "The longest a change waits to share a frame "
        "with others while the service is not overloaded.",
    )
    heartbeat_seconds: float = _setting(
        4.0,
        _between(0.1, 4, "seconds"),
        "Between two heartbeats of a stream; a page that hears none for 9 s says so.",
    )
    stream_seconds: float = _setting(
        3600.0,
        _between(1, 86_400, "seconds"),
        "A stream is closed after about this long, so that "
        "a restart is nothing special; the page reconnects by itself.",
    )
    drain_seconds: float = _setting(
        2.0, _between(0, 30, "seconds"), "How long streams may take to say goodbye on SIGTERM."
    )
    direct: str = _setting(
        "yes",
        _one_of("yes", "no"),
        "Whether frames go straight to the connections (five times cheaper); `no` takes the way "
        "through ASGI, for a look at whether that makes a difference.",
    )
    max_streams: int = _setting(20_000, _count(1, 1_000_000), "Streams at once.")
    max_streams_per_user: int = _setting(100, _count(1, 1_000_000), "Streams at once of one `sub`.")
    max_streams_per_address: int = _setting(
        1_000,
        _count(1, 1_000_000),
        "Streams at once of one client address (of IPv6: of one /64): as many as a large company "
        "has dashboards behind one NAT, and a twentieth of all streams.",
    )
    trusted_proxies: str = _setting(
        "127.0.0.1,::1",
        _networks,
        "Proxies whose `X-Forwarded-For` is believed: addresses or blocks, separated by commas. "
        "What they ask for on nobody's behalf is not counted per address.",
    )
    node_stale_seconds: float = _setting(
        6.0,
        _between(0.5, 10, "seconds"),
        "A SIP node silent for this long makes the view stale; heartbeats come every 2 s.",
    )
    reap_seconds: float = _setting(
        120.0,
        _between(1, 86_400, "seconds"),
        "Calls that nobody can vouch for (their node is silent, or does not send the list that "
        "would mend a loss) are marked after 15 s, and this much later given up as `lost`.",
    )
    max_calls: int = _setting(
        200_000, _count(1, 10_000_000), "Live calls at once; what would be more is rejected."
    )
    ended_seconds: float = _setting(
        300.0,
        _between(1, 86_400, "seconds"),
        "How long an ended call is remembered, for late events and for clients that come back.",
    )
    ended_calls: int = _setting(
        100_000, _count(100, 10_000_000), "How many ended calls are remembered at most."
    )
    redis_flush_ms: float = _setting(
        100.0, _between(5, 10_000, "milliseconds"), "Between two writes to Redis."
    )
    ready_seconds: float = _setting(
        5.0,
        _between(0, 60, "seconds"),
        "How long the start waits for the nodes' lists of calls, and shows nobody any, "
        "before it is ready with those marked unconfirmed that no list has told of.",
    )
    trace_url: str | None = _setting(
        None,
        template,
        "Where a call's SIP messages can be seen, for the page's link from a call: a URL such as "
        "`https://homer.example/search?callid={call_id}&from={begin}&to={end}`. The Call-ID comes "
        "into it percent-encoded, times in ms with a minute to spare. Only roles that see all "
        "calls are given it.",
    )
    log_level: str = _setting(
        "INFO", _one_of("DEBUG", "INFO", "WARNING", "ERROR"), "What is logged to standard error."
    )


def variable(name: str) -> str:
    return PREFIX + name.upper()


def from_environment(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, and a warning for each unknown name. Raises :class:`SettingsError` with
    everything that is wrong, not only the first."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    known = {variable(one.name): one for one in fields(Settings)}
    for name, one in known.items():
        text = environ.get(name)
        if text is None or text == "":
            continue
        try:
            values[one.name] = one.metadata["parse"](text)
        except ValueError as right:
            problems.append(f"{name} is {masked(text)!r}; it must be {right}")
    if problems:
        raise SettingsError(problems)
    return Settings(**values), [
        _unknown(name, known) for name in sorted(environ)
        if name.startswith(PREFIX) and not name.startswith(BRIDGE_PREFIX) and name not in known
    ]  # fmt: skip


def masked(text: str) -> str:
    """A value as it may be shown: without the password of a URL."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", text)


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")


def table() -> str:
    """All settings as a Markdown table."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for one in fields(Settings):
        default = "" if one.default in (None, MISSING) else f"`{_plain(one.default)}`"
        rows.append(f"| `{variable(one.name)}` | {default} | {one.metadata['doc']} |")
    return "\n".join(rows) + "\n"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
