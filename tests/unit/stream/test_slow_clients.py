"""Who is slow is named to administrators, and to nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from api.cli.child_service import Instance
from livestate.client.paths import CLIENTS_PATH
from tests.harness import Node, bearer
from tests.slow_reader import SlowReader


async def ask(service: Instance, token: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(service.url + CLIENTS_PATH, headers=bearer(token))


async def test_a_client_that_reads_nothing_is_named_with_its_lag(
    service: Instance, node: Node
) -> None:
    company = "slow-clients"
    reader = service.token("user", company_id=company, subject="drinks-nothing")
    with await SlowReader.open(service.url, reader):
        found: list[dict[str, Any]] = []
        number = 0
        async with asyncio.timeout(30):
            while not found:
                number += 1
                await node.say("setup", f"{number}", company_id=company, from_="5" * 100)
                answer = await ask(service, service.token("admin"))
                found = [
                    one
                    for one in answer.json()["clients"]
                    if one["subject"] == "drinks-nothing" and one["lag_ms"] > 500
                ]
                await asyncio.sleep(0.05)
        (client,) = found
        assert client["company_id"] == company
        assert client["role"] == "user"
        assert client["lag_bytes"] > 0
        assert client["open_ms"] >= client["lag_ms"]
        async with httpx.AsyncClient() as admin:
            status = (await admin.get(f"{service.admin_url}/statusz")).json()
        assert "drinks-nothing" in {one["subject"] for one in status["slow_clients"]}
    async with asyncio.timeout(30):
        while "drinks-nothing" in (await ask(service, service.token("admin"))).text:
            await asyncio.sleep(0.1)


async def test_only_administrators_may_ask_who_is_slow(service: Instance) -> None:
    for role, claims in (("noc", {}), ("operator", {}), ("user", {"company_id": "c"})):
        answer = await ask(service, service.token(role, **claims))
        assert answer.status_code == 403, role
    assert (await ask(service, "no token")).status_code == 401
    assert (await ask(service, service.token("admin"))).status_code == 200
