"""Finds which rights the Redis user lacks: each command that livestate sends, on each of its keys.

Redis does not name the key that it denied (``NOPERM No permissions to access a key``), and a script
that is denied names only its first command. So each command is sent once in a form that changes
nothing: a read, or a write that fails after the check of rights (an argument too many, a number
that is none, a key that does not exist). Called at a start, while Redis refuses something, and by
``livestate doctor``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from livestate.redis.trouble import is_unknown_command
from livestate.store.keys import Keys

_NO_DIGEST: Final = "0" * 40
Command = tuple[str, ...]


def commands(keys: Keys) -> Iterator[tuple[str, str, Command]]:
    """Command, key and the harmless form of each."""
    hashes = (keys.calls, keys.ended, keys.scopes, keys.meta, keys.sessions)
    every = (*keys.table, keys.flushes, keys.logouts, keys.sessions, keys.probe)
    one: list[Command] = [("TYPE", key) for key in every]
    one += [("PTTL", key) for key in keys.table]
    for key in hashes:
        one += [("HSET", key, "field", "value", "one too many"), ("HDEL", key, "")]
    one += [("HGETALL", keys.probe), ("HGET", keys.meta, ""), ("HMGET", keys.calls, "")]
    one += [("HLEN", key) for key in hashes]
    one += [("HSCAN", keys.probe, "0"), ("GET", keys.probe), ("EXISTS", keys.probe)]
    one += [("DEL", keys.probe), ("RENAME", keys.probe, keys.probe), ("PERSIST", keys.probe)]
    one += [("EXPIRE", keys.probe, "no number")]
    one += [("SET", key, "value", "NX", "XX") for key in (keys.writer, keys.refreshing)]
    one += [("ZADD", keys.active, "no number", "member"), ("ZREM", keys.active, "")]
    one += [("ZCARD", keys.active), ("ZMSCORE", keys.active, ""), ("ZSCORE", keys.active, "")]
    one += [("XADD", key, "no id", "field", "value") for key in (keys.logouts, keys.flushes)]
    for command in one:
        yield command[0], command[1], command
    yield "XREAD", keys.logouts, ("XREAD", "COUNT", "1", "STREAMS", keys.logouts, "$")
    yield "EVALSHA", keys.active, ("EVALSHA", _NO_DIGEST, "1", keys.active)


async def missing(redis: Redis, keys: Keys) -> list[str]:
    """Such as ``HSET on {active_calls}:meta``; empty if nothing is missing. Raises what the Redis
    client raises for everything that is not a refusal."""
    sent = list(commands(keys))
    async with redis.pipeline(transaction=False) as pipe:
        for _, _, command in sent:
            pipe.execute_command(*command)
        replies = await pipe.execute(raise_on_error=False)
    found: dict[str, list[str]] = {}
    for (name, key, _), reply in zip(sent, replies, strict=True):
        if _refused(reply):
            found.setdefault(name, []).append(key)
    denied = [f"{name} on {' '.join(denied_keys)}" for name, denied_keys in found.items()]
    if not await _may_send_scripts(redis):
        denied.append("SCRIPT LOAD (or EVAL)")
    return denied


async def _may_send_scripts(redis: Redis) -> bool:
    """Either command is enough. The text is no script, so nothing is kept."""
    execute: Any = redis.execute_command
    for command in (("SCRIPT LOAD", "no script ("), ("EVAL", "no script (", "0")):
        try:
            await execute(*command)
        except ResponseError as error:
            if not _refused(error):
                return True
    return False


def _refused(reply: Any) -> bool:
    return isinstance(reply, NoPermissionError) or (
        isinstance(reply, BaseException) and is_unknown_command(reply)
    )
