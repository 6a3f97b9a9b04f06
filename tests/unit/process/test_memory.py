"""Promise K of the allocator and the collector: what a burst took goes back to the system, and no
collection takes longer the more calls are up.

Each test measures a child process, which nothing has filled before.
"""

from __future__ import annotations

import platform

import pytest

from livestate.process.memory import THRESHOLDS
from tests.child_program import printed_numbers

FOLD = """
import gc, sys, time
from bench.proc import rss_bytes as resident
from collections import deque
from livestate.state.active_calls import ActiveCalls
from livestate.state.call import Call
from livestate.state.kpi.kpis import Kpis
from livestate.state.nodes.registry import Nodes
from livestate.process import memory
from livestate.ingest.pipeline import Pipeline
from tests.unit.ingest.feeding import raw, sync

NOW = 10**9

def fold(calls, untracked=True, companies=40):
    table = ActiveCalls(secret=b"s" * 16, epoch="e")
    kpis = Kpis(lambda: NOW)
    sinks = (kpis, memory.Untracked(kpis.parts)) if untracked else (kpis,)
    pipeline = Pipeline(table, Nodes(stale_after=10**9), sinks, clock=lambda: NOW)
    seq = 0
    for n in range(calls):
        for phase in ("setup", "ringing", "answered"):
            seq += 1
            names = {"dialog": f"{n}.1", "call_id": f"c{n}", "company_id": f"co-{n % companies}"}
            pipeline.handle(*raw(phase, seq, **names))
    for at in range(calls, 2 * calls, 100):
        pipeline.handle(*sync(seq, *(f"{n}.1" for n in range(at, at + 100)), sync_id=str(at)))
    return table
"""
pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="what another malloc keeps is its own affair"
)


async def printed(program: str) -> list[float]:
    """The numbers that the program prints, which may use ``fold``."""
    return await printed_numbers(FOLD + program)


async def test_the_collector_walks_no_call() -> None:
    """Whatever folded it: events, a list, a call that ended."""
    tracked, walked = await printed("""
memory.set_up_collector()
table = fold(2_000)
gc.collect()
calls = {id(part) for call in table.calls.values()
         for part in (call, call.phase_log, call.attributes)}
print(sum(id(one) in calls for one in gc.get_objects()), len(table.calls))
""")
    assert walked == 4_000
    assert tracked == 0


async def test_an_object_outside_the_collector_stays_as_it_is() -> None:
    """So is a call of the compiled build: what lies before it in memory belongs to others."""
    (left,) = await printed("""
texts = [f"text {n}" for n in range(20_000)]
for text in texts:
    memory.untrack(text)
print(len({*texts}))
""")
    assert left == 20_000


async def test_the_collector_walks_little_of_a_company() -> None:
    """One list of a node may name 10,000 of them: 17 objects each held the loop for 165 ms."""
    (each,) = await printed("""
memory.set_up_collector()
before = len(gc.get_objects())
table = fold(2_000, companies=2_000)
gc.collect()
print((len(gc.get_objects()) - before) / 2_000)
""")
    assert each < 3


async def test_a_full_collection_does_not_grow_with_the_calls() -> None:
    without, tracked = await printed("""
def full():
    tries = []
    for _ in range(3):
        began = time.thread_time()
        gc.collect()
        tries.append(time.thread_time() - began)
    return min(tries)

memory.set_up_collector()
gc.disable()
none = full()
first = fold(4_000)
print(full() - none)
second = fold(4_000, untracked=False)
print(full() - none)
""")
    assert without < tracked / 4, (without, tracked)


async def test_old_garbage_in_cycles_is_bounded() -> None:
    """Such as a connection that was open for long: a million objects die, in cycles, after they
    have outlived the collections of the young."""
    (most,) = await printed("""
memory.set_up_collector()
table = fold(100)
alive, most = deque(maxlen=100_000), 0
for n in range(1_200_000):
    one = []
    one.append(one)
    alive.append(one)
    if not n % 100_000:
        most = max(most, len(gc.get_objects()))
print(most)
""")
    young, middle, old = THRESHOLDS
    each_full = young * (middle + 1) * (old + 1)
    assert most < 100_000 + 2 * each_full


async def test_what_a_burst_took_goes_back_to_the_system() -> None:
    """Large buffers between small objects that stay, after a large one was freed."""
    (kept,) = await printed("""
memory.set_up_allocator()
large = b"x" * 20_000_000
del large
before = resident()
burst, stays = [], []
for n in range(1_000):
    burst.append(b"x" * 100_000)
    stays.append(b"x" * 1_000)
del burst
print((resident() - before) / 1e6)
""")
    assert kept < 20


async def test_a_call_with_all_fields_takes_at_most_2500_bytes() -> None:
    """docs/promises.md, "Memory is a sum of caps"."""
    (each,) = await printed("""
memory.set_up_allocator()
memory.set_up_collector()
fold(100)
before = resident()
table = fold(0)
sinks = (memory.Untracked(lambda company: ()),)
pipeline = Pipeline(table, Nodes(stale_after=10**9), sinks, clock=lambda: NOW)
calls, seq = 10_000, 0
for n in range(calls):
    for phase in ("setup", "ringing", "answered", "ended"):
        seq += 1
        uris = {"from_uri": f"sip:+3902{n:07d}@a.example", "to_uri": f"sip:+44{n:08d}@b.example"}
        times = {"setup_at": NOW + n, "progress_at": NOW + n + 1, "answered_at": NOW + n + 3}
        names = {"from": f"+3902{n:07d}", "to": f"+4479{n:08d}", "company_id": f"co-{n % 40}",
                 "call_id": f"{n:08d}-6f3a-4c1e-9d4e-0242ac110002@10.20.30.40"}
        pipeline.handle(*raw(phase, seq, dialog=f"{n}:{7 * n}", trunk=f"gw-{n % 10}", attempt=1,
                             direction="outbound", sip_code=200, **uris, **times, **names))
print((resident() - before) / calls)
""")
    assert 1_000 < each < 2_500
