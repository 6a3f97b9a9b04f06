"""Runs a Lua script by its digest, and sends its text where the server does not have it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from livestate.redis.trouble import is_unknown_command


class Script:
    """One script of a household. ``await script(keys, arguments)`` returns its result and raises
    what the Redis client raises."""

    def __init__(self, redis: Redis, package: str, name: str) -> None:
        self._redis = redis
        self._execute: Any = redis.execute_command  # redis-py has no type for it
        self._text = (files(package) / name).read_text()
        self._digest = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        call = (len(keys), *keys, *arguments)
        try:
            return await self._execute("EVALSHA", self._digest, *call)
        except NoScriptError:
            pass
        # Redis forgets scripts when it restarts. A managed Redis may have SCRIPT disabled, and
        # deploy/redis-acl.conf does not allow EVAL: either is enough.
        try:
            await self._redis.script_load(self._text)
        except ResponseError as error:
            if not (isinstance(error, NoPermissionError) or is_unknown_command(error)):
                raise
            return await self._execute("EVAL", self._text, *call)
        return await self._execute("EVALSHA", self._digest, *call)
