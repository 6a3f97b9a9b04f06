"""Looks at Redis for ``livestate doctor``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

from redis.exceptions import RedisError

from api.cli.finding import Finding
from api.settings import Settings
from livestate.process.masking import masked
from livestate.redis.connection import connect, follows
from livestate.redis.survey import info, remarks, version
from livestate.redis.trouble import explain
from livestate.store import rights
from livestate.store.keys import Keys


async def redis(settings: Settings) -> AsyncIterator[Finding]:
    """Whether it answers, is a server to write to, and lets our user do what it must."""
    where = f"Redis at {masked(settings.redis_url)}"
    keys = Keys(settings.redis_prefix)
    client = connect(settings.redis_access(), slot_key=keys.active)
    try:
        try:
            fields = await info(client)
            for remark in remarks(fields, follows=follows(client)):
                yield Finding("bad" if remark.bad else "odd", f"{where} {remark.what}", remark.mend)
            for right in await rights.missing(client, keys):
                yield Finding(
                    "bad", f"{where}: the user lacks {right}", "see deploy/redis-acl.conf"
                )
            types = [cast("bytes", await client.type(key)).decode() for key in keys.table]
        except (RedisError, OSError) as error:
            yield Finding("bad", f"{where}: {explain(error).what}", explain(error).mend)
            return
    finally:
        await client.aclose()
    if not fields:
        yield Finding(
            "odd",
            f"{where} answers; it does not tell its version, role or memory (INFO)",
            "Redis 7 or newer, or Valkey, a primary, with maxmemory-policy noeviction",
        )
    elif not remarks(fields, follows=follows(client)):
        yield Finding("good", f"{where}: {version(fields)}")
    for key, found, wanted in zip(
        keys.table, types, ("zset", *["hash"] * 4, "string"), strict=True
    ):
        if found not in (wanted, "none"):
            yield Finding(
                "odd",
                f"{key} in Redis is a {found}, not a {wanted}",
                "livestate replaces it when it starts; find what else writes to it",
            )
