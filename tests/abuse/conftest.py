"""One more service for all of this folder: with an identity provider and small caps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.instance import Instance
from livestate.runtime import embedded
from tests.abuse import provider

MOST_PER_USER = 8
MOST_PER_ADDRESS = 12


class Guarded(Instance):
    """A service that trusts :mod:`tests.abuse.provider`; its files may be written in a test."""

    jwks: Path
    revoked: Path


@pytest.fixture(scope="session")
def _guarded_process(
    tmp_path_factory: pytest.TempPathFactory,
    _nats_process: embedded.NatsServer,
    _valkey_process: embedded.Redis,
) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("guarded")
    jwks, revoked = home / "jwks.json", home / "revoked"
    settings = {
        "NATS_URL": _nats_process.url, "REDIS_URL": f"redis://127.0.0.1:{_valkey_process.port}/1",
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
async def guarded(_guarded_process: Guarded, nats_server: embedded.NatsServer) -> Guarded:
    """Its logins are :func:`tests.abuse.provider.sign`'s."""
    await _guarded_process.until_ready()
    return _guarded_process
