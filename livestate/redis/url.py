"""Parses the URL of a Redis or Valkey: one server, a Sentinel group, a cluster or a unix socket.

    redis://user:password@host:6379/0              rediss:// with TLS
    unix:///run/redis/redis.sock?db=0
    redis+sentinel://user:password@h1:26379,h2:26379/mymaster/0     rediss+sentinel:// with TLS
    redis+cluster://user:password@h1:6379,h2:6379                   rediss+cluster:// with TLS

``valkey`` may stand for ``redis`` in each scheme. User and password are percent-decoded (RFC 3986
§2.1). Options stand in the query, named as redis-py names them. An unknown option is an error:
redis-py would hand it to the connection, which fails at the first command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote

DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379  # Redis documentation, "High availability with Redis Sentinel"
RIGHT: Final = (
    "a URL that starts with redis://, rediss:// (TLS), unix://, redis+sentinel:// or "
    "redis+cluster:// and names a host; a password is percent-encoded in it"
)
_SCHEME: Final = re.compile(r"(redis|rediss|valkey|valkeys|unix)(?:\+(sentinel|cluster))?")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?")
_MASTER: Final = re.compile(r"[A-Za-z0-9._-]+")  # sentinel.c: sentinelIsValidMasterName
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """``hosts`` are of the server, the Sentinels or the cluster; empty for a unix socket. Parts
    that the URL lacks are None, empty or the server's default."""

    kind: str  # "server", "sentinel", "cluster" or "unix"
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""  # of the unix socket
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    master: str = ""  # the group's name at the Sentinels
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True  # the server's certificate
    check_hostname: bool = True


def parse(text: str) -> RedisUrl:
    """Raises ValueError, which says what would be right and repeats nothing of ``text``: there may
    be a password in it."""
    scheme, separator, rest = text.strip().partition("://")
    found = _SCHEME.fullmatch(scheme)
    if found is None or not separator or "#" in rest:
        raise ValueError(RIGHT)
    family, mode = found.groups()
    where, _, query = rest.partition("?")
    authority, slash, path = where.partition("/")
    # An "@" further behind is of a password that holds "/" or "?".
    if "@" in path or ("@" in query and "@" not in authority):
        raise ValueError(RIGHT)
    userinfo, _, hosts = authority.rpartition("@")
    username, _, password = userinfo.partition(":")
    url = RedisUrl(
        kind=mode or ("unix" if family == "unix" else "server"),
        tls=family in ("rediss", "valkeys"),
        username=unquote(username) or None,
        password=unquote(password) or None,
    )
    if family == "unix":
        if mode or hosts or len(path) < 1:
            raise ValueError(
                "unix:// with three slashes and the path of the socket, such as "
                "unix:///run/redis/redis.sock?db=0"
            )
        url = replace(url, path=unquote(slash + path))
    else:
        url = _with_path(replace(url, hosts=_hosts(hosts, url.kind)), path)
    url = _with_options(url, _options(query))
    if url.kind == "cluster" and url.db:
        raise ValueError("a URL without a database number: a Redis Cluster has database 0 only")
    return url


def _hosts(text: str, kind: str) -> tuple[tuple[str, int], ...]:
    hosts = []
    for part in text.split(","):
        found = _HOST.fullmatch(part.strip())
        port = (
            int(found[2] or (SENTINEL_PORT if kind == "sentinel" else DEFAULT_PORT)) if found else 0
        )
        if found is None or not 0 < port < 65536:
            raise ValueError(RIGHT)
        hosts.append((found[1].strip("[]"), port))
    if kind == "server" and len(hosts) > 1:
        raise ValueError(
            "one host, or redis+sentinel:// or redis+cluster:// with several; a comma "
            "in a password is percent-encoded as %2C"
        )
    return tuple(hosts)


def _with_path(url: RedisUrl, path: str) -> RedisUrl:
    """The path is the database; at Sentinels it is the group's name and the database, in either
    order (libraries differ)."""
    parts = [unquote(part) for part in path.split("/") if part]
    numbers = [part for part in parts if part.isascii() and part.isdigit()]
    names = [part for part in parts if part not in numbers]
    if url.kind != "sentinel":
        if names or len(numbers) > 1:
            raise ValueError("a URL whose path is a database number, such as redis://host:6379/0")
    elif len(names) != 1 or len(numbers) > 1 or _MASTER.fullmatch(names[0]) is None:
        raise ValueError(
            "redis+sentinel:// with the name of the group behind the hosts, such as "
            "redis+sentinel://h1:26379,h2:26379/mymaster/0"
        )
    return replace(url, db=int(numbers[0]) if numbers else 0, master="".join(names))


def _options(query: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in query.split("&") if part]
    return {name: unquote(value) for name, _, value in pairs}


def _with_options(url: RedisUrl, options: Mapping[str, str]) -> RedisUrl:
    fields: dict[str, object] = {}
    for name, value in options.items():
        if name == "db" and value.isascii() and value.isdigit():
            fields["db"] = int(value)
        elif name in _TEXTS:
            fields[_TEXTS[name]] = value
        elif name == "ssl_cert_reqs" and value in ("required", "none"):
            fields["verify"] = value == "required"
        elif name == "ssl_check_hostname" and value.lower() in _TRUE | _FALSE:
            fields["check_hostname"] = value.lower() in _TRUE
        else:
            known = ", ".join(("db", *_TEXTS, "ssl_cert_reqs=required|none", "ssl_check_hostname"))
            raise ValueError(f"a URL with no other options than {known}")
    return replace(url, **fields)  # type: ignore[arg-type]  # mypy: of several types


_TEXTS: Final = {
    "username": "username",
    "password": "password",
    "sentinel_username": "sentinel_username",
    "sentinel_password": "sentinel_password",
    "ssl_ca_certs": "ca_file",
    "ssl_certfile": "cert_file",
    "ssl_keyfile": "key_file",
}
