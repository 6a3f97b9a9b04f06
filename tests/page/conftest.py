"""One Chromium for all tests of this folder that a pytest process runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.pages import FLAGS


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(program: Callable[[str], str]) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield started
        await started.close()
