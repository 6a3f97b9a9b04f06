"""Firefox ESR without a driver: it speaks WebDriver BiDi (https://w3c.github.io/webdriver-bidi/) on
a WebSocket of its own. Debian's Firefox is not the one that Playwright can drive."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from livestate.devtools.child_process import Server

# A fresh profile asks its makers for this and that; a test must not need them.
PREFERENCES = {
    "app.normandy.enabled": False, "app.update.disabledForTesting": True,
    "browser.safebrowsing.malware.enabled": False, "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}  # fmt: skip


class Firefox(Server):
    """One headless Firefox with a profile of its own."""

    name = "firefox"

    def __init__(self, program: str) -> None:
        super().__init__(program)
        self.environment = os.environ | {"HOME": self._home.name}
        self._numbers = itertools.count(1)
        self._socket: ClientConnection | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/session"

    async def start(self) -> None:
        self.data.mkdir()
        (self.data / "user.js").write_text("".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in PREFERENCES.items()
        ))  # fmt: skip
        await super().start()
        self._socket = await connect(self.url, max_size=None)
        await self.ask("session.new", capabilities={})

    async def stop(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        await super().stop()

    async def open(self, url: str) -> Tab:
        created = await self.ask("browsingContext.create", type="tab")
        tab = Tab(self, created["context"])
        await self.ask("browsingContext.navigate", context=tab.id, url=url, wait="interactive")
        return tab

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result."""
        assert self._socket is not None
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(30):
            while (reply := json.loads(await self._socket.recv())).get("id") != number:
                pass  # something that happened meanwhile
        assert reply["type"] == "success", reply
        result: dict[str, Any] = reply["result"]
        return result

    def _command(self) -> list[str]:
        return ["--headless", "--no-remote", "--profile", str(self.data),
                "--remote-debugging-port", str(self.port), "about:blank"]  # fmt: skip

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                await client.get(f"http://127.0.0.1:{self.port}/")
            except httpx.HTTPError:
                return False
        return True


class Tab:
    """One page in it."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self.firefox = firefox
        self.id = context

    async def find(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON."""
        reply = await self.firefox.ask(
            "script.evaluate", target={"context": self.id}, awaitPromise=True,
            expression=f"Promise.resolve({expression}).then((found) => JSON.stringify(found))",
        )  # fmt: skip
        assert reply["type"] == "success", reply
        return json.loads(reply["result"].get("value", "null"))

    async def until(self, expression: str, wanted: Any, seconds: float = 30) -> None:
        """Wait until an expression is what is wanted; the failure says what it is instead."""
        found: Any = None
        try:
            async with asyncio.timeout(seconds):
                while (found := await self.find(expression)) != wanted:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{expression} is {found!r}, not {wanted!r}") from None

    async def middle(self, selector: str) -> tuple[int, int]:
        """Where the middle of an element is, in CSS pixels of the window, once it is there."""
        await self.until(f"document.querySelector({json.dumps(selector)}) !== null", True)
        x, y = await self.find(f"""(() => {{
            const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        return round(x), round(y)

    async def drag(self, *points: tuple[int, int]) -> None:
        """Press the button of the mouse at the first point, move it through the others, let go."""
        first, *others = [
            {"type": "pointerMove", "x": x, "y": y, "duration": 50} for x, y in points
        ]
        actions = [first, {"type": "pointerDown", "button": 0}, *others,
                   {"type": "pointerUp", "button": 0}]  # fmt: skip
        await self._perform("pointer", "mouse", actions)

    async def click(self, selector: str) -> None:
        await self.drag(await self.middle(selector))

    async def press(self, *keys: str) -> None:
        """Keys one after another, by the characters of WebDriver (§17.4.2)."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        await self._perform("key", "keyboard", actions)

    async def _perform(self, kind: str, name: str, actions: list[dict[str, Any]]) -> None:
        await self.firefox.ask(
            "input.performActions",
            context=self.id,
            actions=[{"type": kind, "id": name, "actions": actions}],
        )

    async def printed(self) -> bytes:
        """The page on A4 paper, as a PDF."""
        reply = await self.firefox.ask("browsingContext.print", context=self.id)
        return base64.b64decode(reply["data"])

    async def close(self) -> None:
        await self.firefox.ask("browsingContext.close", context=self.id)
