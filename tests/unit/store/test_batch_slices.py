"""A flush of very many calls leaves the event loop its turns (promise K)."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from bench.workload import full_table
from livestate.state.call import Call
from livestate.store.last_written import AT_ONCE, batch_of

CALLS = 2_000


class Looked(dict[str, Call]):
    """The calls of a table, which count how often they were looked at."""

    looked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looked += 1
        return super().get(key, default)


async def test_the_loop_has_turns_while_calls_are_encoded() -> None:
    table = full_table(CALLS)
    keys = list(table.calls)[:CALLS]
    calls = table.calls = Looked(table.calls)
    encoding = asyncio.create_task(batch_of(table, keys))
    seen = [0]
    while not encoding.done():
        await asyncio.sleep(0)
        seen.append(calls.looked)

    assert encoding.result().taken == CALLS
    assert max(after - before for before, after in pairwise(seen)) <= AT_ONCE
    assert AT_ONCE <= CALLS / 10
