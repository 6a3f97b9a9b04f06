"""Processes beside each other, for the tests of who leads and who serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio

from tests.unit.cluster.test_beside import Beside


@pytest_asyncio.fixture
async def beside(tmp_path: Path) -> AsyncIterator[Beside]:
    async with AsyncExitStack() as stack:
        made = Beside(stack, tmp_path)
        await made.start()
        yield made
