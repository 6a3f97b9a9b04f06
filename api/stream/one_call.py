"""``GET /api/v1/live/calls/<key>``: one call with its timeline, from this process or its engine."""

from __future__ import annotations

from typing import Any, Protocol

from livestate.cluster.served_hub import ServedHub
from livestate.fanout.patch import ending, record
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call


class Calls(Protocol):
    """Where calls are found by their keys."""

    @property
    def live(self) -> int:
        """How many calls are live."""

    async def find(self, key: str, scope: Scope) -> Call | None:
        """A live or ended call that ``scope`` admits."""


class LocalCalls:
    """The calls of this process's own table."""

    def __init__(self, table: ActiveCalls) -> None:
        self._table = table

    @property
    def live(self) -> int:
        return self._table.live

    async def find(self, key: str, scope: Scope) -> Call | None:
        return self.get(key, scope)

    def get(self, key: str, scope: Scope) -> Call | None:
        call = self._table.calls.get(key)
        return call if call is not None and scope.admits(call) else None


class ServedCalls:
    """The calls of a single process: its own, or the leader's while clients are served from
    those."""

    def __init__(self, table: ActiveCalls, served: ServedHub) -> None:
        self._own, self._served = LocalCalls(table), served

    @property
    def live(self) -> int:
        return self._from.live

    async def find(self, key: str, scope: Scope) -> Call | None:
        return await self._from.find(key, scope)

    @property
    def _from(self) -> Calls:
        return self._served.edge if self._served.serves == "leader" else self._own


def with_timeline(call: Call) -> dict[str, Any]:
    """One call with its history: what happened when, in the node's order."""
    response = record(call)
    if not call.live:
        response |= ending(call)
    response["key"] = call.key
    response["timeline"] = [{"phase": one.phase, "at": one.at} for one in call.phase_records]
    return response
