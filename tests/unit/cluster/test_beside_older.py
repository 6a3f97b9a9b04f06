"""A single process of an older version beside one of this version, in both directions.

The older ones come out of git's history; without it the tests are skipped. One knows how to serve
from a leader's frames: clients get one diff wherever they go. The other one was made before that:
it neither publishes frames nor follows any, so clients take a snapshot when they move.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api.cli.child_service import Instance
from tests.older_version import older_version
from tests.unit.cluster.test_beside import Beside, serves
from tests.unit.cluster.test_moves import until_writer
from tests.unit.cluster.test_roles import until_written
from tests.unit.cluster.test_takeovers import status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FOLLOWS = "6d670a9"  # serves from the process that leads
ALONE = "0119850a"  # does not know how


def of_version(made: Instance, environment: dict[str, str]) -> Instance:
    made.environment = {**(made.environment or {}), **environment}
    return made


@pytest.mark.parametrize("version", [FOLLOWS, ALONE])
async def test_clients_are_right_at_both_versions(
    beside: Beside, tmp_path: Path, version: str
) -> None:
    older = of_version(beside.process("all"), older_version(version, tmp_path))
    newer = beside.process("all")
    snapshots = version == ALONE
    await beside.up(older)
    await until_writer(older)
    assert ("served" in await status(older)) == (version == FOLLOWS), "the older version runs"

    await beside.up(newer)  # the older one leads
    await serves(newer, "own" if snapshots else "leader")
    await beside.look(older, newer, older, newer, snapshots=snapshots)

    await until_written(older)
    await older.kill()
    await beside.look(newer, snapshots=snapshots)
    await until_writer(newer)
    await serves(newer, "own")
    await beside.look(newer, snapshots=snapshots)

    await beside.up(older)  # the newer one leads
    if not snapshots:
        await serves(older, "leader")
    await beside.look(newer, older, newer, older, snapshots=snapshots)

    await until_written(newer)
    await newer.stop()
    await beside.look(older, snapshots=snapshots)
    await until_writer(older)
    await asyncio.sleep(1)  # its flushes go on
    await beside.look(older, snapshots=snapshots)
