"""The webhook: signed, in order, tried again, and never where a redirect points; real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator

import orjson
import pytest

from api.panels.alarm_webhook import GIVE_UP_SECONDS, MOST, Webhook, signature
from livestate.process.tasks import cancel_and_wait
from livestate.state.alarms.alarm import Alarm
from livestate.state.alarms.board import Change, What
from tests.harness import until

SECRET = "a-secret-of-sixteen"


class Receiver:
    """Answers with ``statuses``, then 204; 0 hangs up without an answer."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook?key=k"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers["content-length"]))
            self.got.append((headers, body))
            status = self.statuses.pop(0) if self.statuses else 204
            if status:
                where = f"Location: {self.url}&again\r\n" if 300 <= status < 400 else ""
                writer.write(f"HTTP/1.1 {status} X\r\n{where}Connection: close\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    @property
    def events(self) -> list[str]:
        return [orjson.loads(body)["event"] for _, body in self.got]


class Clock:
    """Sleeping moves it on."""

    now = 1_000_000.5  # a pause of 0.8 s or more is in another second

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def give(hook: Webhook, changes: list[Change]) -> dict[str, bytes]:
    made = hook.deliveries(changes)
    hook.send(made)
    return made


def change(what: What, company: str | None = None) -> Change:
    return Change(
        what,
        Alarm("0" * 16, "asr", company, "", "alarm", "alarm", 20.0, 12.5, 25.0, 1_700_000_000_000),
    )


@contextlib.asynccontextmanager
async def running(url: str, clock: Clock) -> AsyncIterator[Webhook]:
    hook = Webhook(url, SECRET, clock=clock, steady=clock, sleep=clock.sleep)
    task = asyncio.create_task(hook.run())
    yield hook
    await cancel_and_wait(task)


async def test_a_change_is_posted_with_a_signature_that_can_be_checked() -> None:
    async with Receiver() as receiver, running(receiver.url, Clock()) as hook:
        give(hook, [change("raised", "101")])
        await until(lambda: hook.sent == 1)
    ((headers, body),) = receiver.got
    seconds, _, signed = headers["livestate-signature"].partition(",v1=")
    wanted = hmac.new(SECRET.encode(), seconds[2:].encode() + b"." + body, hashlib.sha256)
    assert signed == wanted.hexdigest()
    assert seconds == "t=1000000"
    alarm = orjson.loads(body)["alarm"]
    assert (alarm["rule"], alarm["company_id"], alarm["peak"]) == ("asr", "101", 12.5)
    assert SECRET not in str(receiver.got)


async def test_a_receiver_that_fails_gets_the_same_delivery_again_and_in_order() -> None:
    clock = Clock()
    async with Receiver(503, 0, 429) as receiver, running(receiver.url, clock) as hook:
        give(hook, [change("raised"), change("cleared")])
        await until(lambda: hook.sent == 2)
    assert receiver.events == ["raised"] * 4 + ["cleared"]
    deliveries = [headers["livestate-delivery"] for headers, _ in receiver.got]
    assert (len(set(deliveries[:4])), deliveries[4] != deliveries[0]) == (1, True)
    assert len({headers["livestate-signature"] for headers, _ in receiver.got[:4]}) == 4
    assert [round(one) for one in (clock.slept[1] / 2, clock.slept[2] / 4)] == [1, 1]
    assert hook.failed_tries == 3


@pytest.mark.parametrize("status", [400, 401, 404, 410, 301, 302, 307, 308])
async def test_a_refusal_is_final_and_a_redirect_is_not_followed(status: int) -> None:
    async with Receiver(status) as receiver, running(receiver.url, Clock()) as hook:
        give(hook, [change("raised"), change("cleared")])
        await until(lambda: hook.sent == 1)
    assert receiver.events == ["raised", "cleared"]
    assert dict(hook.dropped) == {"full": 0, "late": 0, "refused": 1}


async def test_a_receiver_that_stays_away_is_tried_seldom_and_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    async with running("http://user:word@127.0.0.1:1/hook?key=secret", clock) as hook:
        give(hook, [change("raised")])
        await until(lambda: hook.dropped["late"] == 1, 30)
    assert clock.slept[-1] <= 72
    assert hook.failed_tries < GIVE_UP_SECONDS / 40
    assert hook.waiting == 0
    assert "secret" not in caplog.text
    assert "word" not in caplog.text
    assert caplog.text.count("is tried again") == 1


async def test_the_queue_is_bounded_and_keeps_the_latest() -> None:
    hook = Webhook("http://127.0.0.1:1/", SECRET)
    give(hook, [change("raised") for _ in range(MOST + 5)])
    assert (hook.waiting, hook.dropped["full"]) == (MOST, 5)


def test_the_signature_is_that_of_the_documentation() -> None:
    assert signature(b"secret-of-sixteen", 1700000000, b'{"event":"raised"}') == (
        "t=1700000000,v1="
        + hmac.new(b"secret-of-sixteen", b'1700000000.{"event":"raised"}', "sha256").hexdigest()
    )


async def test_the_same_change_of_a_flapping_alarm_is_a_delivery_of_its_own() -> None:
    async with Receiver() as receiver, running(receiver.url, Clock()) as hook:
        give(hook, [change("level"), change("cleared"), change("level")])
        await until(lambda: hook.sent == 3)
    assert len({headers["livestate-delivery"] for headers, _ in receiver.got}) == 3


async def test_what_waited_before_a_restart_is_sent_first_and_once() -> None:
    before = Webhook("http://127.0.0.1:9/", SECRET)
    old = give(before, [change("raised")])
    async with Receiver(500) as receiver, running(receiver.url, Clock()) as hook:
        new = give(hook, [change("cleared")])
        hook.send_first(old | new)
        await until(lambda: hook.sent == 2)
    assert receiver.events[-2:] == ["raised", "cleared"]
    tried = [headers["livestate-delivery"] for headers, _ in receiver.got]
    assert set(tried) == {*old, *new}
    assert not hook.unsent


async def test_what_another_instance_sends_is_withdrawn() -> None:
    hook = Webhook("http://127.0.0.1:9/", SECRET)
    stored, later = give(hook, [change("raised")]), give(hook, [change("cleared")])
    hook.withdraw(stored)
    assert hook.unsent == later
