"""``livestate doctor``: what is wrong with this configuration, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Final, NamedTuple, cast

import click
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from redis.exceptions import RedisError

from api.demo_key import ISSUER
from api.keys import KeySet
from api.settings import Settings, SettingsError, from_environment, masked
from livestate.errors import Rejected
from livestate.events import parse
from livestate.runtime.child import is_free
from livestate.runtime.consumer import SUBJECT
from livestate.runtime.redis_table import KEYS, connect

LISTEN_SECONDS: Final = 3.0  # a node beats every 2 s
_MARKS: Final = {"good": ("✓", "green"), "odd": ("!", "yellow"), "bad": ("✗", "red")}


class Finding(NamedTuple):
    """One thing looked at: ``good``, ``odd`` (it runs, but see) or ``bad`` (it cannot work)."""

    verdict: str
    what: str
    mend: str = ""


@click.command()
def doctor() -> None:
    """Say what is wrong with this configuration, and how to mend it.

    Looks at the settings of the environment, at NATS (and whether nodes speak), Redis, the keys
    of logins and the addresses. Exits with 1 if something cannot work.
    """
    sys.exit(asyncio.run(tell(findings())))


async def tell(found: AsyncIterator[Finding]) -> int:
    """Print what was found, as it is found; the command's exit code."""
    bad = 0
    async for finding in found:
        sign, colour = _MARKS[finding.verdict]
        click.echo(f"{click.style(sign, fg=colour)} {finding.what}")
        if finding.mend:
            click.echo(f"    {finding.mend}")
        bad += finding.verdict == "bad"
    click.echo(f"{bad} thing{'s' * (bad != 1)} to mend" if bad else "nothing to mend")
    return int(bad > 0)


async def findings() -> AsyncIterator[Finding]:
    """Everything that was looked at, in order."""
    try:
        settings, warnings = from_environment(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("bad", problem, "see `livestate serve --help` for all settings")
        return
    for warning in warnings:
        yield Finding("odd", warning, "a name that is not known has no effect")
    if not warnings:
        yield Finding("good", "the settings can be read")
    yield await _nats(settings)
    async for finding in _redis(settings):
        yield finding
    yield await _keys(settings)
    for name, address in (("BIND", settings.bind), ("ADMIN_BIND", settings.admin_bind)):
        yield _address(name, address)


async def _nats(settings: Settings) -> Finding:
    where = f"NATS at {masked(settings.nats_url)}"
    refused: list[Exception] = []
    nodes: dict[str, int] = {}
    wrong: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(error)

    async def on_message(message: Msg) -> None:
        try:
            event = parse(message.subject, message.data)
        except Rejected as rejected:
            wrong.append(str(rejected))
        else:
            nodes[event.node] = nodes.get(event.node, 0) + 1

    client = Client()
    try:
        await asyncio.wait_for(
            client.connect(
                settings.nats_url,
                user_credentials=settings.nats_creds,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # else it would try one that is not there until the end
                reconnect_time_wait=0.1,  # type: ignore[arg-type]  # any number will do
                connect_timeout=2,
                error_cb=on_error,
            ),
            5,
        )
        await client.subscribe(SUBJECT, cb=on_message)
        await client.flush()
        await asyncio.sleep(LISTEN_SECONDS)
    except (TimeoutError, OSError, NatsError) as error:
        return Finding(
            "bad",
            f"{where}: {_said(refused[-1] if refused else error)}",
            "start it, or set LIVESTATE_NATS_URL, LIVESTATE_NATS_CREDS",
        )
    finally:
        if client.is_connected:
            await client.close()
    if refused:
        return Finding(
            "bad",
            f"{where}: {refused[0]}",
            f"let this account subscribe to {SUBJECT} and publish call.resync.*",
        )
    if wrong:
        return Finding(
            "odd",
            f"{where}: {len(wrong)} messages not of the contract: {wrong[0]}",
            "compare the bridge with `livestate schema`",
        )
    if not nodes:
        return Finding(
            "odd",
            f"{where}: no node spoke in {LISTEN_SECONDS:.0f} s",
            "a node beats every 2 s: is a bridge running? `livestate simulate` plays one",
        )
    return Finding("good", f"{where}: {', '.join(sorted(nodes)[:5])} speak")


async def _redis(settings: Settings) -> AsyncIterator[Finding]:
    where = f"Redis at {masked(settings.redis_url)}"
    redis = connect(settings.redis_url)
    try:
        info = await redis.info()
        types = [cast("bytes", await redis.type(key)).decode() for key in KEYS]
    except (RedisError, OSError) as error:
        yield Finding(
            "bad",
            f"{where}: {_said(error)}",
            "start it, or set LIVESTATE_REDIS_URL; streams go on without it, "
            "but a restart of the service then starts from the nodes' lists",
        )
        return
    finally:
        await redis.aclose()
    name = f"{info.get('server_name', 'redis')} {info['redis_version']}"
    if int(str(info["redis_version"]).partition(".")[0]) < 7:
        yield Finding(
            "bad",
            f"{where} is {name}",
            "Redis 7 or newer, or Valkey: older ones run a script half when they are full",
        )
    elif info.get("role") != "master":
        yield Finding("bad", f"{where} is a replica", "point LIVESTATE_REDIS_URL to its primary")
    elif info.get("maxmemory", 0) and info.get("maxmemory_policy") != "noeviction":
        yield Finding(
            "bad",
            f"{where} evicts keys ({info['maxmemory_policy']})",
            "set maxmemory-policy noeviction, or calls vanish from active_calls",
        )
    else:
        yield Finding("good", f"{where}: {name}")
    for key, found, wanted in zip(KEYS, types, ("zset", *["hash"] * 4, "string"), strict=True):
        if found not in (wanted, "none"):
            yield Finding(
                "odd",
                f"{key} in Redis is a {found}, not a {wanted}",
                "livestate replaces it when it starts; who else writes to it?",
            )


async def _keys(settings: Settings) -> Finding:
    if settings.jwt_jwks is None:
        return Finding(
            "bad",
            "no LIVESTATE_JWT_JWKS: nobody can log in",
            "set it to your provider's JWKS (file or URL). To try things out: "
            "`livestate token`, LIVESTATE_JWT_JWKS=.livestate/demo-jwks.json",
        )
    keys = KeySet(settings.jwt_jwks)
    try:
        await keys.refresh()
    except (OSError, ValueError) as error:
        return Finding(
            "bad",
            f"JWKS {settings.jwt_jwks}: {_said(error)}",
            'a JSON object with the member "keys" (RFC 7517)',
        )
    if not keys.keys:
        return Finding(
            "bad",
            f"JWKS {settings.jwt_jwks} has no RSA, EC or Ed25519 key",
            "shared secrets (HS*) are not accepted: sign with a private key",
        )
    if "demo" in [key.key_id for key in keys.keys] and settings.jwt_issuer == ISSUER:
        return Finding(
            "odd",
            "logins are signed with the demo key",
            "fine on your own machine; for real use your provider's keys",
        )
    return Finding("good", f"{len(keys.keys)} keys for logins of {settings.jwt_issuer}")


def _address(name: str, address: str) -> Finding:
    host, _, port = address.rpartition(":")
    if name == "ADMIN_BIND" and host not in ("127.0.0.1", "localhost", "[::1]"):
        return Finding(
            "odd",
            f"LIVESTATE_ADMIN_BIND {address} can be reached from elsewhere",
            "metrics and state have no login: keep them inside",
        )
    if not is_free(int(port)):
        return Finding(
            "odd",
            f"LIVESTATE_{name} {address}: somebody listens there already",
            "the service itself? else choose another port",
        )
    return Finding("good", f"LIVESTATE_{name} {address} is free")


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
