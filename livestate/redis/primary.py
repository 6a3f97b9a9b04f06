"""Finds the server to write to: the primary that Sentinels name, or the cluster node of our slot.

A connection asks before it connects (:mod:`livestate.redis.connection`). All keys of livestate are
in one slot of a cluster, because their names share a hash tag. So one node serves them all, and a
client of one server is enough: where the slot moves, the node answers ``MOVED``, the connection is
closed, and the next one asks again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

from redis.asyncio import Redis
from redis.exceptions import AskError, ConnectionError, RedisError

Address: TypeAlias = tuple[str, int]
Connect: TypeAlias = Callable[[Address], "Redis"]
ASK_SECONDS: Final = 1.0  # for all that are asked


class Primary(Protocol):
    """Knows where the primary is."""

    async def address(self) -> Address:
        """Ask for the primary. Raises ConnectionError (of redis-py), which names the trouble."""
        ...


class Sentinels:
    """Asks all Sentinels at once, by ``SENTINEL get-master-addr-by-name``.

    The answer that more than half of them give counts, else the most frequent one: a Sentinel that
    was cut off from the others may still name the primary of before a failover.
    """

    def __init__(self, hosts: Sequence[Address], master: str, connect: Connect) -> None:
        self._hosts = tuple(hosts)
        self._master = master
        self._connect = connect

    async def address(self) -> Address:
        votes: Counter[Address] = Counter()
        troubles: list[str] = []
        asked = {asyncio.create_task(self._ask(host)): host for host in self._hosts}
        try:
            async with asyncio.timeout(ASK_SECONDS):
                for answer in asyncio.as_completed(asked):
                    try:
                        votes[await answer] += 1
                    except (RedisError, OSError) as error:
                        troubles.append(str(error))
                    if votes and votes.most_common(1)[0][1] > len(self._hosts) // 2:
                        break
        except TimeoutError:
            troubles += [
                f"{host}:{port} does not answer"
                for task, (host, port) in asked.items()
                if not task.done()
            ]
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if not votes:
            raise ConnectionError(f"no Sentinel names the primary: {'; '.join(troubles)}")
        return votes.most_common(1)[0][0]

    async def _ask(self, address: Address) -> Address:
        host, port = address
        async with self._connect(address) as sentinel:
            try:
                command: Any = sentinel.execute_command
                found = await command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
            except (RedisError, OSError) as error:
                raise ConnectionError(f"Sentinel {host}:{port}: {error}") from error
        if not found:
            raise ConnectionError(f"Sentinel {host}:{port} knows no group {self._master!r}")
        return found[0].decode(), int(found[1])


class ClusterNode:
    """Asks the nodes one after the other for ``key``: one serves it, or names the node that does
    (``MOVED``). No right is needed beyond that to read the key's type."""

    def __init__(self, hosts: Sequence[Address], key: str, connect: Connect) -> None:
        self._hosts = tuple(hosts)
        self._key = key
        self._connect = connect
        self._last: Address | None = None  # the node that served it last is asked first

    async def address(self) -> Address:
        troubles: list[str] = []
        for host in dict.fromkeys((self._last, *self._hosts)):
            if host is None:
                continue
            try:
                async with self._connect(host) as node:
                    await cast("Awaitable[bytes]", node.type(self._key))
                self._last = host
            except AskError as moved:  # MOVED is an AskError of redis-py
                # Redis 7 may leave the host empty: the one that was asked.
                named = moved.host not in ("", "?")
                self._last = (moved.host if named else host[0], moved.port)
            except (RedisError, OSError) as error:
                troubles.append(f"{host[0]}:{host[1]}: {error}")
                continue
            return self._last
        raise ConnectionError(f"no node of the cluster answers: {'; '.join(troubles)}")
