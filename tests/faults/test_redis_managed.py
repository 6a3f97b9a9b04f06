"""A managed Redis, under a whole service: commands are disabled, keys evicted."""
# ruff: noqa: N802  # a row's name begins with the letters of its promises

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from api.cli.child_service import Instance
from livestate.devtools.servers import NatsServer, Redis
from tests.harness import Node
from tests.redis_world import AWKWARD, Managed, cardinality, kinds, remarked, replicate
from tests.unit.cli.test_cli import run


@pytest.fixture(params=kinds(), ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Redis]:
    found: type[Redis] = request.param
    return found


async def test_R_the_service_works_without_those_commands(
    kind: type[Redis], tmp_path: Path
) -> None:
    """With the user default, a password full of signs, and database 3."""
    async with Managed(kind) as managed, NatsServer() as queue, managed.admin(3) as admin:
        url = f"redis://default:{quote(AWKWARD, safe='')}@127.0.0.1:{managed.port}/3"
        settings = {"NATS_URL": queue.url, "REDIS_URL": url, "READY_SECONDS": "1"}
        async with Instance(tmp_path, settings) as service, await Node.connect(queue.url) as node:
            await service.until_ready()
            await node.call("1.1", company_id="101")
            await cardinality(admin, 1)
            await admin.delete("active_calls")
            await cardinality(admin, 1)
            await service.restart()
            await service.until_ready()
            await node.call("2.2", company_id="101")
            await cardinality(admin, 2)
            assert "unknown command" not in service._log.read_text().lower()
        code, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1", REDIS_URL=url)
        assert code == 1
        assert "does not tell its version" in out
        assert "✗ Redis" not in out
        assert "ss:w" not in out


async def test_R_eviction_and_a_replica_are_told_by_doctor_log_and_status(
    kind: type[Redis], tmp_path: Path
) -> None:
    async with kind(arguments=("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")) as one:
        _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                           REDIS_URL=one.url)  # fmt: skip
        assert "evicts keys (allkeys-lru)" in out
        async with NatsServer() as queue, kind() as replica:
            await replicate(one, replica)
            for url, words in (
                (one.url, "evicts keys (allkeys-lru)"),
                (replica.url, "is a replica"),
            ):
                settings = {"NATS_URL": queue.url, "REDIS_URL": url, "READY_SECONDS": "1"}
                async with Instance(tmp_path, settings) as service:
                    await service.until_ready()
                    await remarked(service, words)
            _, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                               REDIS_URL=replica.url)  # fmt: skip
            assert "is a replica of 127.0.0.1" in out
