"""A Chromium that finds the proxies by their name, and their certificate."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.interop import certificates
from tests.interop.proxies import HOST
from tests.pages import FLAGS

LIVE_SECONDS = 60  # to be live on a busy machine; the promise is 10
expect.set_options(timeout=LIVE_SECONDS * 1000)


@pytest.fixture(scope="session")
def tls() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="livestate-tls-") as directory:
        Path(directory).chmod(0o755)  # nginx's workers read the passwords as another user
        yield certificates.write(Path(directory) / "tls")


@pytest.fixture
async def chromium(program: Callable[[str], str]) -> AsyncIterator[Browser]:
    rules = [f"--host-resolver-rules=MAP {HOST} 127.0.0.1", "--ignore-certificate-errors"]
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=program("chromium"), args=[*FLAGS, *rules]
        )
        yield started
        await started.close()


async def live(page: Page) -> None:
    await expect(page.locator("#status-word")).to_have_text("live", timeout=LIVE_SECONDS * 1000)
