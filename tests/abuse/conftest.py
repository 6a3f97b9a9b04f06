"""One more service for each file of this folder: with an identity provider and small caps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from api.cli.child_service import Instance
from livestate.devtools import servers
from tests import redis_acl
from tests.abuse import provider
from tests.faults.caddy import Caddy

MOST_PER_USER = 8
MOST_PER_ADDRESS = 12


class Guarded(Instance):
    """A service that trusts :mod:`tests.abuse.provider`; its files may be written in a test."""

    jwks: Path
    revoked: Path


# Of a module: to idle for the rest of the session costs more CPU than a start.
@pytest.fixture(scope="module")
def _guarded_process(
    tmp_path_factory: pytest.TempPathFactory,
    _nats_process: servers.NatsServer,
    _valkey_process: servers.Redis,
) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("guarded")
    jwks, revoked = home / "jwks.json", home / "revoked"
    revoked.touch()
    settings = {
        "NATS_URL": _nats_process.url,
        "REDIS_URL": redis_acl.limited(f"redis://127.0.0.1:{_valkey_process.port}/1"),
        "JWT_JWKS": str(jwks), "JWT_ISSUER": provider.ISSUER, "JWT_AUDIENCE": provider.AUDIENCE,
        "REVOKED": str(revoked), "MAX_STREAMS_PER_USER": str(MOST_PER_USER),
        "MAX_STREAMS_PER_ADDRESS": str(MOST_PER_ADDRESS),
    }  # fmt: skip
    server = Guarded(home, settings)
    server.jwks, server.revoked = jwks, revoked
    all_keys(server)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


def all_keys(server: Guarded) -> None:
    provider.publish(server.jwks, ed=provider.ED, rsa=provider.RSA, ec=provider.EC,
                     retiring=provider.RETIRING)  # fmt: skip


@pytest.fixture
async def guarded(_guarded_process: Guarded, nats_server: servers.NatsServer) -> Guarded:
    """Its logins are :func:`tests.abuse.provider.sign`'s."""
    await _guarded_process.until_ready()
    return _guarded_process


@pytest.fixture(scope="module")
def _caddy_process(_guarded_process: Guarded) -> Iterator[Caddy]:
    server = Caddy(_guarded_process.port)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def caddy(_caddy_process: Caddy, guarded: Guarded) -> Caddy:
    """A real Caddy with deploy/Caddyfile in front of ``guarded``."""
    return _caddy_process


# -- the table of `make abuse` ---------------------------------------------------------------------


@dataclass
class Row:
    """One line of the table: the attacker, the attack, and the delays it caused."""

    who: str = ""
    what: str = ""
    outcome: str = ""
    hold: float = 0.0  # seconds: the longest callback
    round: float = 0.0  # of the loop, likewise
    function: str = ""
    p99: float = 0.0  # of another client, seconds
    base: float = 0.0  # the same without the attack
    megabytes: float = 0.0
    waited: float = 0.0  # the share of the time in which the service waited for a processor
    held: list[str] = field(default_factory=list)  # tries that held the loop too long
    verdict: str = "BROKEN"

    def line(self) -> str:
        times = f"p99 {self.p99 * 1000:.0f} ms of {self.base * 1000:.0f}"
        return " │ ".join((
            f"{self.verdict:7}", f"{self.who:10}", f"{self.what:62}", f"{self.outcome:40}",
            f"hold {self.hold * 1000:3.0f} ms of {self.round * 1000:.0f}", f"{times:18}",
            f"{self.megabytes:3.0f} MB", f"queued {self.waited:3.0%}", self.function,
            *(f"TRIED AGAIN after {hold}" for hold in self.held),
        ))  # fmt: skip


ROWS = pytest.StashKey["list[Row]"]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The loud rows take minutes and a machine of their own: only where they are asked for."""
    named = any("abuse" in argument for argument in config.args)
    return None if named or collection_path.name != "test_loud.py" else True


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    row = Row()
    failed = request.session.testsfailed
    request.config.stash[ROWS].append(row)
    yield row
    if row.verdict != "INVALID":
        row.verdict = "holds" if request.session.testsfailed == failed else "BROKEN"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if rows:
        terminalreporter.section("abuse")
        for row in rows:
            terminalreporter.write_line(row.line())
        held = sum(row.verdict == "holds" for row in rows)
        invalid = sum(row.verdict == "INVALID" for row in rows)
        unsaid = f", {invalid} INVALID: the machine was busy, they say nothing" if invalid else ""
        terminalreporter.write_line(f"{held} of {len(rows)} rows hold{unsaid}")
