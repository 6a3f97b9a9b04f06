"""Two services with two prefixes share one Redis, and neither touches a key of the other."""

# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis as Client

from api.cli.child_service import Instance
from livestate.devtools.servers import NatsServer, Redis
from livestate.store.keys import Keys
from tests import redis_acl
from tests.harness import Node, bearer

_KEY = re.compile(r"^\{?(one|two):active_calls\}?")


async def watched(server: Redis, seen: list[str]) -> None:
    """Every command, also those of scripts, as MONITOR shows them: client (or lua) and words."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
    writer.write(b"MONITOR\r\n")
    try:
        while line := (await reader.readline()).decode("utf-8", "replace"):
            if found := re.match(r"\+[\d.]+ \[\d+ (\S+)\] (.*)", line):
                words = re.findall(r'"((?:[^"\\]|\\.)*)"', found[2])
                seen.append(" ".join((found[1], *(word.replace(" ", "_") for word in words))))
    finally:
        writer.close()


def rules(name: str, prefix: str) -> str:
    """The shipped rule for a user that may touch the keys of one prefix only."""
    return redis_acl.shipped().replace("user livestate", f"user {name}").replace(
        "~active_calls ~{active_calls}:*", f"~{prefix}active_calls ~{{{prefix}active_calls}}:*"
    )  # fmt: skip


async def test_R_two_prefixes_in_one_redis_never_touch(redis_server: Redis, tmp_path: Path) -> None:
    async with (
        NatsServer() as first, NatsServer() as second, Client.from_url(redis_server.url) as admin,
    ):  # fmt: skip
        instances = []
        for name, queue in (("one", first), ("two", second)):
            await admin.execute_command("ACL", "SETUSER", *rules(name, f"{name}:").split()[1:])
            url = f"redis://{name}:{redis_acl.PASSWORD}@127.0.0.1:{redis_server.port}/0"
            instances.append(Instance(tmp_path / name, {
                "NATS_URL": queue.url, "REDIS_URL": url, "REDIS_PREFIX": f"{name}:",
                "READY_SECONDS": "1", "ENDED_SECONDS": "1",
            }))  # fmt: skip
        seen: list[str] = []
        watching = asyncio.create_task(watched(redis_server, seen))
        while not seen:
            await admin.acl_whoami()
            await asyncio.sleep(0.01)
        async with instances[0] as one, instances[1] as two:
            await one.until_ready()
            await two.until_ready()
            async with (
                await Node.connect(first.url) as here,
                await Node.connect(second.url) as there,
            ):
                for dialog in ("1.1", "2.2"):
                    await here.call(dialog, company_id="101")
                await there.call("3.3", company_id="101")
                await until(admin, one=2, two=1)
                await here.say("ended", "2.2", company_id="101")
                await admin.delete("two:active_calls")  # a rewrite: staged keys too
                await until(admin, one=1, two=1)
            for service in (one, two):
                async with httpx.AsyncClient(base_url=service.url) as client:
                    await client.delete("/api/v1/session", headers=bearer(service.token()))
            async with asyncio.timeout(20):
                for name in ("one", "two"):
                    while not await admin.exists(Keys(f"{name}:").logouts):
                        await asyncio.sleep(0.05)
            await one.restart()
            await one.until_ready()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert {_KEY.match(key.decode())[1] for key in await admin.keys("*")} == {"one", "two"}  # type: ignore[index]
        assert await admin.acl_log() == []
        for name in ("one", "two"):
            await admin.execute_command("ACL", "DELUSER", name)
    assert wrong(seen) == []
    scripts = [line for line in seen if line.startswith("lua ")]
    assert {_KEY.match(line.split()[2])[1] for line in scripts} == {"one", "two"}  # type: ignore[index]


def wrong(seen: list[str]) -> list[str]:
    """Commands of one connection or script that name keys of more than one prefix, or of none."""
    free = {"AUTH", "SELECT", "PING", "INFO", "SCRIPT", "HELLO"}
    touched: dict[str, set[str]] = {}
    strange: list[str] = []
    ours: set[str] = set()
    for line in seen:
        client, verb, *rest = line.split()
        if verb.upper() in ("ACL", "KEYS"):
            ours.add(client)  # the test's own connection
        prefixes = {found[1] for word in rest if (found := _KEY.match(word))}
        mine = client != "lua" and verb.upper() not in free
        if mine and not prefixes and "active_calls" in line:
            strange.append(line)
        if len(prefixes) > 1:
            strange.append(line)
        if client != "lua" and prefixes:
            touched.setdefault(client, set()).update(prefixes)
    strange += [client for client, both in touched.items() if len(both) > 1 and client not in ours]
    return strange


async def until(admin: Any, **live: int) -> None:
    async with asyncio.timeout(30):
        for name, calls in live.items():
            while await admin.zcard(f"{name}:active_calls") != calls:
                await asyncio.sleep(0.05)
