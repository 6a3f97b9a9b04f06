"""The ACL user that we ship for Redis, as an argument of a server for tests."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from livestate.store.keys import UNPREFIXED
from livestate.store.rights import commands

SHIPPED = Path(__file__).parent.parent / "deploy" / "redis-acl.conf"
PASSWORD = "change-this-password"


def arguments() -> tuple[str, ...]:
    """For :class:`livestate.devtools.servers.Redis`: the user of the shipped file, beside the
    default one, with whom a test may do what it likes."""
    name, *rules = shipped().split()
    return (f"--{name}", *rules)


def shipped() -> str:
    """The line of the shipped file that makes the user."""
    (line,) = [one for one in SHIPPED.read_text().splitlines() if one.startswith("user ")]
    return line


def limited(url: str) -> str:
    """The address as the service gets it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://livestate:{PASSWORD}@{parts.hostname}:{parts.port}{parts.path}"


def needed() -> set[str]:
    """The commands that the service sends, lower case."""
    return {name.lower() for name, _, _ in commands(UNPREFIXED)} | {"script|load", "evalsha"}
