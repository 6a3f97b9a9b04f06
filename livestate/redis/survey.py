"""Looks at what the server says of itself: version, role, memory, cluster.

Used by the service, which logs what is wrong and shows it in ``/statusz``, and by
``livestate doctor``.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from livestate.redis.trouble import is_unknown_command

OLDEST: Final = 7  # older ones run half of a script when their memory is full


class Remark(NamedTuple):
    """Something about the server. ``bad``: the service cannot keep its promises with it."""

    bad: bool
    what: str
    mend: str


async def info(redis: Redis, *sections: str) -> dict[str, Any]:
    """Fields of INFO; empty where a managed Redis forbids it. Raises what the Redis client raises
    for everything else."""
    try:
        return dict(await redis.info(*sections))
    except ResponseError as error:
        if isinstance(error, NoPermissionError) or is_unknown_command(error):
            return {}
        raise


class ServerWatch:
    """Notices a failover or a restart: either may have lost the last writes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._server: str | None = None

    async def changed(self) -> bool:
        """Whether another server answers than at the last call, or the same one was restarted.
        False without the right to INFO. Raises what the Redis client raises."""
        known = self._server
        self._server = (await info(self._redis, "server")).get("run_id", known)
        return known not in (None, self._server)


def version(fields: dict[str, Any]) -> str:
    """Name and version of the server, such as ``valkey 9.1.2``."""
    name = fields.get("server_name", "redis")
    return f"{name} {fields.get(f'{name}_version', fields.get('redis_version', ''))}".strip()


def remarks(fields: dict[str, Any], *, follows: bool = False) -> list[Remark]:
    """What is wrong with the server that gave these fields. ``follows``: the client finds the node
    of a cluster by itself."""
    found = []
    number = str(fields.get("redis_version", "")).partition(".")[0]
    if number.isdigit() and int(number) < OLDEST:
        found.append(
            Remark(
                True,
                f"is {version(fields)}",
                "Redis 7 or newer, or Valkey: older ones run a script half when they are full",
            )
        )
    if fields.get("role", "master") != "master":
        found.append(
            Remark(
                True,
                f"is a replica of {fields.get('master_host')}:{fields.get('master_port')}",
                "point LIVESTATE_REDIS_URL to its primary, or let redis+sentinel:// find it",
            )
        )
    if fields.get("cluster_enabled") and not follows:
        found.append(
            Remark(
                True,
                "is a node of a Redis Cluster",
                "set LIVESTATE_REDIS_URL=redis+cluster://host:port,host:port",
            )
        )
    policy = fields.get("maxmemory_policy", "noeviction")
    if fields.get("maxmemory") and policy != "noeviction":
        found.append(
            Remark(
                True,
                f"evicts keys ({policy})",
                "set maxmemory-policy noeviction, or calls vanish from active_calls",
            )
        )
    return found
