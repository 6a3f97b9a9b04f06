"""Clients that other people wrote, each as a process or a browser of its own.

A client prints each event as its application gets it. The test folds these events, and compares
the result with the calls of the service. Our page is asked for its own table.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
from playwright.async_api import Browser, Page, Route

from livestate.client import Fold, LiveCalls, ServerEvent
from livestate.fanout.patch import LINE_BYTES
from tests.firefox.browser import Firefox, Tab
from tests.harness import STREAM

HERE = Path(__file__).parent
SECONDS = 90.0  # for whatever a client does, on a machine that is busy with the others


class Follower:
    """One client. ``until`` waits for something that it has seen."""

    def __init__(self) -> None:
        self.fold = Fold()
        self.names: list[str] = []  # of its events since the last `forget`
        self.changes: list[tuple[str, str]] = []  # each snapshot and diff of these, with its id
        self.parts = 0  # of diffs, and their bytes
        self.received = 0
        self.longest = 0
        self.times: list[float] = []  # of the names
        self.opened: list[list[str]] = []
        self.ends: list[list[str]] = []
        self.goodbyes: list[str] = []
        self._news = asyncio.Condition()

    async def start(self, url: str, token: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def forget(self) -> None:
        self.names.clear()
        self.changes.clear()
        self.times.clear()
        self.ends.clear()
        self.goodbyes.clear()
        self.parts = 0
        self.received = 0

    async def take(self, name: str, id_: str, data: str) -> None:
        """One event as the client gave it."""
        async with self._news:
            if name == "#open":
                self.opened.append([id_, data])
            elif name.startswith("#"):
                self.ends.append([name, id_, data])
            else:
                self.longest = max(self.longest, len(data.encode()) + len("data: "))
                self.seen(name, self.fold.fold(ServerEvent(name, data.encode(), id_)), id_)
            self._news.notify_all()

    def seen(self, name: str, data: dict[str, Any], id_: str) -> None:
        """Note an event that came now; ``id_``: the last one that the client knows."""
        self.names.append(name)
        if name in ("snapshot", "diff"):
            self.changes.append((name, id_))
        self.times.append(time.monotonic())
        if name == "goodbye":
            self.goodbyes.append(data["reason"])
        if name == "diff" and "part" in data:
            self.parts += 1
            self.received += len(orjson.dumps(data))

    async def until(self, what: str, wanted: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(SECONDS), self._news:
                await self._news.wait_for(wanted)
        except TimeoutError:
            raise AssertionError(f"not {what}: {self}") from None

    async def shows(self, truth: dict[str, Any]) -> bool:
        """Whether its calls are those of the service, field for field; False while it is elsewhere.
        Raises AssertionError where they differ."""
        if self.fold.last_id != truth["id"]:
            return False
        assert self.fold.calls == truth["calls"]
        assert (self.fold.digest, self.fold.diverged) == (truth["digest"], 0)
        assert self.longest <= LINE_BYTES
        return True

    async def beat(self) -> None:
        """Wait for the next heartbeat."""
        begun = len(self.names)
        await self.until("a heartbeat", lambda: "heartbeat" in self.names[begun:])

    async def gap(self) -> float:
        """Seconds from the next diff to the heartbeat after it."""
        begun = len(self.names)

        def both() -> bool:
            names = self.names[begun:]
            return "diff" in names and "heartbeat" in names[names.index("diff") :]

        await self.until("a diff and a heartbeat", both)
        diff = self.names.index("diff", begun)
        return self.times[self.names.index("heartbeat", diff)] - self.times[diff]

    async def resumed(self) -> None:
        """It received the changes that it had missed, in parts, and no snapshot."""
        assert "snapshot" not in self.names, self
        assert self.received > 1_100_000, self

    async def said_goodbye(self, reason: str) -> None:
        await self.until("goodbye", lambda: reason in self.goodbyes)
        await self.until("over", lambda: self.ends)
        assert self.ends[0][0] == "#end", self.ends

    def __str__(self) -> str:
        seen = (
            self.names[-5:],
            self.changes[-5:],
            self.fold.last_id,
            len(self.fold.calls),
            self.opened,
            self.ends,
        )
        return " ".join(map(repr, seen))


class Program(Follower):
    """A client that prints its events: ``program`` with ``arguments``, then URL and token."""

    def __init__(
        self, program: str, *arguments: str, last: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._command = [program, *arguments]
        self._last = last
        self._environment = environment  # None: that of this process
        self._process: asyncio.subprocess.Process
        self._reading: asyncio.Task[None]

    async def start(self, url: str, token: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, url + STREAM, token, *self._last, cwd=HERE,
            stdout=asyncio.subprocess.PIPE, limit=2**24, env=self._environment,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            name, id_, data, *_ = (*line.decode().rstrip("\n").split("\t", 2), "", "")
            await self.take(name, id_, data)
        await self.take("#exit", "", str(await self._process.wait()))


class SelfReconnecting(Program):
    """The same where the client does not tell an orderly end from an error."""

    async def said_goodbye(self, reason: str) -> None:
        await self.until("goodbye", lambda: reason in self.goodbyes)


class OurJavaScript(SelfReconnecting):
    """clients/js in Node.js: its own table is compared, printed with each heartbeat."""

    async def take(self, name: str, id_: str, data: str) -> None:
        if name == "#table":
            self.table = {"id": id_, **orjson.loads(data)}
        else:
            await super().take(name, id_, data)

    async def shows(self, truth: dict[str, Any]) -> bool:
        if self.table["id"] != truth["id"]:
            return False
        assert self.table["calls"] == truth["calls"]
        assert (self.table["digest"], self.table["diverged"]) == (truth["digest"], 0)
        return True

    table: dict[str, Any] = {"id": ""}  # noqa: RUF012  never changed in place


class OurPython(Follower):
    """livestate.client, in this process."""

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        super().__init__()
        self._client = client  # None: its own

    async def start(self, url: str, token: str) -> None:
        self._live = LiveCalls(url + STREAM, token, client=self._client)
        self.fold = self._live.fold
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    async def said_goodbye(self, reason: str) -> None:
        await self.until("goodbye", lambda: reason in self.goodbyes)

    async def _follow(self) -> None:
        async with self._live as live:
            async for update in live:
                async with self._news:
                    self.seen(update.name, update.data or {}, live.fold.last_id)
                    self._news.notify_all()


class FetchEventSource(Follower):
    """@microsoft/fetch-event-source in Chromium, on a blank page of the service's origin."""

    def __init__(self, browser: Browser, modules: Path) -> None:
        super().__init__()
        self._browser = browser
        self._package = modules / "node_modules/@microsoft/fetch-event-source/lib/esm"
        self._page: Page

    async def start(self, url: str, token: str) -> None:
        self._page = await self._browser.new_page()
        await self._page.route("**/fetch-event-source/**", self._give)
        await self._page.expose_function("report", self.take)
        await self._page.goto(f"{url}/fetch-event-source/blank")
        await self._page.add_script_tag(url="/fetch-event-source/client.js", type="module")
        await self._page.wait_for_function("window.follow !== undefined")
        await self._page.evaluate(f"follow({url + STREAM!r}, {token!r})")

    async def close(self) -> None:
        await self._page.close()

    async def _give(self, route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        if name == "blank":
            await route.fulfill(body="<!doctype html>", content_type="text/html")
        elif name == "client.js":
            await route.fulfill(path=HERE / "clients/fetch-event-source.js")
        else:  # its modules import each other without ".js"
            path = self._package / (name.removesuffix(".js") + ".js")
            await route.fulfill(path=path, content_type="text/javascript")


class OurPage(Follower):
    """The page, in a browser; its own table is compared."""

    async def find(self, expression: str) -> Any:
        raise NotImplementedError

    async def shows(self, truth: dict[str, Any]) -> bool:
        found = await self.find("window.livestate && [livestate.state(), livestate.calls()]")
        if not found or found[0]["id"] != truth["id"]:
            return False
        state, calls = found
        assert calls == truth["calls"]
        assert (state["digest"], state["divergences"]) == (truth["digest"], 0)
        return True

    async def resumed(self) -> None:
        """The page does not show which events it received; its table was compared."""

    async def said_goodbye(self, reason: str) -> None:
        await self._reaches("livestate.state().goodbye", reason)

    async def _reaches(self, expression: str, wanted: Any) -> None:
        found = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while (found := await self.find(expression)) != wanted:
                    await asyncio.sleep(0.05)
        assert found == wanted, expression


class PageInChromium(OurPage):
    def __init__(self, browser: Browser) -> None:
        super().__init__()
        self._browser = browser
        self._page: Page

    async def start(self, url: str, token: str) -> None:
        self._page = await (await self._browser.new_context()).new_page()
        await self._page.goto(f"{url}/login#{token}")
        await self._page.wait_for_url("**/live-calls")

    async def find(self, expression: str) -> Any:
        return await self._page.evaluate(expression)

    async def close(self) -> None:
        await self._page.context.close()


class PageInFirefox(OurPage):
    def __init__(self, program: str) -> None:
        super().__init__()
        self._firefox = Firefox(program)
        self._tab: Tab

    async def start(self, url: str, token: str) -> None:
        await self._firefox.start()
        self._tab = await self._firefox.open(f"{url}/login#{token}")
        await self._tab.until("location.pathname", "/live-calls", SECONDS)

    async def find(self, expression: str) -> Any:
        return await self._tab.find(expression)

    async def close(self) -> None:
        await self._firefox.close()
