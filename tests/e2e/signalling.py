"""Helpers of the tests of single SIP messages: a call's frames and CDRs, refusals by hand."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from livestate.bridge.kamailio.translation import KamailioFeed
from livestate.contract.messages import has_cdr
from livestate.state.call import Call
from tests.e2e.agents import Agent, Dialog, Message, Stage
from tests.e2e.test_holds import folded

TAG: Final = "tag7"


def calls(frames: list[Any]) -> list[Call]:
    return list(folded(frames).calls.values())


def one(frames: list[Any]) -> Call:
    (call,) = calls(frames)
    return call


def phases(frames: list[Any]) -> list[str]:
    return [frame["ev"] for frame in frames]


def cdrs(frames: list[Any]) -> list[str]:
    feed = KamailioFeed()
    messages = [one.message for frame in frames for one in feed.feed(frame)]
    return [message["outcome"] for message in messages if has_cdr(message)]


async def settle() -> None:
    """Long enough for an event to come, after the message that made it."""
    await asyncio.sleep(0.3)


async def listed(stage: Stage, dialog: Dialog) -> Call:
    by_list = calls(await stage.listener.listed())
    (found,) = [call for call in by_list if call.call_id == dialog.call_id]
    return found


async def refuse(dialog: Dialog, phone: Agent, code: int, invite: Message,
                 extra: tuple[tuple[str, str], ...] = ()) -> Message:  # fmt: skip
    """The final response of the phone, acknowledged by the proxy and by the caller."""
    came = await phone.wait("INVITE")
    phone.answer(came, code, tag=TAG, extra=extra)
    await phone.wait("ACK")
    response = await dialog.caller.wait(*range(300, 700))
    dialog.acknowledge(response, invite)
    return response


def tag(address: str) -> str:
    return address.partition("tag=")[2]
