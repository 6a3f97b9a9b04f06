"""Promise R: Redis holds what memory holds after every flush, whatever is done to either.

On a real Valkey and a real Redis 7, killed, wiped, edited, full, and behind a line that loses
replies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis as RedisClient

from livestate.access import Scope
from livestate.active_calls import ActiveCalls, Change
from livestate.call import Call, stamp_of
from livestate.errors import SnapshotUnusable
from livestate.runtime import projection as projection_module
from livestate.runtime.embedded import Redis, Valkey
from livestate.runtime.projection import Projection
from livestate.runtime.redis_table import KEYS, WRITER, Loaded, connect, load
from livestate.stored import decode, encode, score
from tests.calls import event, invented_calls, real_calls
from tests.test_promise_order import fold, same

SECRET = b"s" * 16


class World:
    """A table, what happens to it, and its projection."""

    def __init__(
        self, url: str, epoch: str = "a" * 16, loaded: Loaded | None = None, holder: str = "here"
    ) -> None:
        self.table = ActiveCalls(secret=loaded.secret if loaded else SECRET, epoch=epoch)
        self.redis = connect(url)
        self.projection = Projection(
            self.redis, self.table, secret=SECRET, clock=lambda: 7, holder=holder,
            flush_seconds=0.01,
        )  # fmt: skip
        self.chance = Random(epoch)
        self.seq = 0
        if loaded is not None:
            self.table.restore(loaded.calls, loaded.scopes, loaded.epoch, 1)
            self.seq = max((s >> 1 & 2**53 - 1 for s in self.table.positions().values()), default=0)

    def note(self, change: Change | None) -> None:
        if change is not None:
            self.projection.note(change)

    def churn(self, events: int) -> None:
        """Calls of three companies and of nobody that come, change, move, end and are forgotten."""
        for _ in range(events):
            self.seq += 1
            call = self.chance.randrange(1, 40)
            phase = self.chance.choice(
                ("setup", "ringing", "answered", "hold", "resume", "transfer", "ended", "failed")
            )
            company = self.chance.choice(("101", "102", "103", None))
            told: dict[str, Any] = {"company_id": company} if company else {}
            told |= {"dialog": f"{call}.{self.seq // 200}", "call_id": f"c{call}"}
            self.note(self.table.apply(event(phase, self.seq, **told), self.seq))
        if self.chance.random() < 0.3:
            self.projection.forget(self.table.trim(0, self.chance.randrange(20)))
        if self.chance.random() < 0.2:
            keep = {key for key, call in self.table.calls.items() if self.chance.random() < 0.9}
            stamp = stamp_of(1, self.seq, listed=True)
            for change in self.table.close_missing("n1", stamp, keep, self.seq):
                self.note(change)

    async def agrees(self) -> None:
        """Redis is memory: every call, state, score and number."""
        loaded = await load(self.redis)
        assert loaded is not None
        assert loaded.epoch == self.table.epoch
        assert loaded.unusable == 0
        floors = {company: floor for company, (_, floor) in loaded.scopes.items()}

        def told(call: Call, versions: dict[str, int]) -> tuple[Any, dict[str, int]]:
            """Without what is below the floor: it was trimmed since, here or there."""
            shown_in = {"", call.company_id} if call.live else set()
            return same(call), {
                company: at for company, at in versions.items()
                if company in shown_in or at > floors.get(company, 0)
            }  # fmt: skip

        assert {call.key: told(call, versions) for call, versions in loaded.calls} == {
            key: told(call, self.table.versions_of(call)) for key, call in self.table.calls.items()
        }
        assert loaded.scopes == {
            view.scope.company_id or "": (view.version, view.stored_floor)
            for view in self.table.views() if not view.scope.filtered
        }  # fmt: skip
        scores = dict(await self.redis.zrange("active_calls", 0, -1, withscores=True))
        assert scores == {
            key.encode(): float(score(call)) for key, call in self.table.calls.items() if call.live
        }

    async def close(self) -> None:
        await self.redis.aclose()


@pytest.fixture
async def make(redis_server: Redis) -> AsyncIterator[Callable[..., World]]:
    async with contextlib.AsyncExitStack() as stack:

        def made(**told: Any) -> World:
            world = World(redis_server.url, **told)
            stack.push_async_callback(world.close)
            return world

        yield made


Make = Callable[..., World]


async def test_after_every_flush_redis_is_memory(make: Make) -> None:
    world = make()
    for _ in range(40):
        world.churn(world.chance.randrange(60))
        await world.projection.flush()
        await world.agrees()
    assert world.projection.stats.rewrites == 1  # the first; everything else was what changed
    assert world.projection.stats.drifts == 0


async def test_parts_of_a_flush_that_is_cut_off_come_with_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "CALLS_A_PART", 5)
    world = make()
    await world.projection.flush()
    world.churn(200)
    send, sent = world.projection._send, 0

    async def cut_off(*arguments: Any) -> bool:
        nonlocal sent
        sent += 1
        if sent == 3:
            raise ConnectionResetError
        return await send(*arguments)

    monkeypatch.setattr(world.projection, "_send", cut_off)
    with pytest.raises(ConnectionResetError):
        await world.projection.flush()
    world.churn(20)
    await world.projection.flush()
    await world.agrees()


WIPES: dict[str, Callable[[RedisClient], Any]] = {
    "wiped": lambda redis: redis.flushall(),
    "the ZSET is gone": lambda redis: redis.delete("active_calls"),
    "the calls are gone": lambda redis: redis.delete("{active_calls}:calls"),
    "the meta is gone": lambda redis: redis.delete("{active_calls}:meta"),
    "one record is gone": lambda redis: redis.eval(
        "return redis.call('HDEL', KEYS[1], redis.call('HKEYS', KEYS[1])[1])", 1,
        "{active_calls}:calls"),
    "a foreign member": lambda redis: redis.zadd("active_calls", {"ghost": 1}),
    "a foreign tombstone": lambda redis: redis.hset("{active_calls}:ended", "ghost", "x"),
    "a key of another type": lambda redis: redis.eval(
        "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'x')", 1, "active_calls"),
    "calls of another type": lambda redis: redis.eval(
        "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'x')", 1,
        "{active_calls}:calls"),
    "meta of another type": lambda redis: redis.eval(
        "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'x')", 1,
        "{active_calls}:meta"),
    "meta with nonsense": lambda redis: redis.hset("{active_calls}:meta", "flush", "x"),
}  # fmt: skip


@pytest.mark.parametrize("what", WIPES)
async def test_what_was_done_to_redis_is_noticed_and_healed(make: Make, what: str) -> None:
    world = make()
    world.churn(150)
    await world.projection.flush()
    await WIPES[what](world.redis)
    for _ in range(3):  # an audit notices, the next flush writes everything
        await world.projection.flush()
    await world.agrees()
    assert world.projection.stats.drifts == 1
    assert world.projection.stats.rewrites == 2


async def test_an_old_dump_that_comes_back_is_noticed(make: Make) -> None:
    world = make()
    world.churn(100)
    await world.projection.flush()
    names = [name async for name in world.redis.scan_iter()]
    dump = {name: await world.redis.dump(name) for name in names}
    world.churn(100)
    await world.projection.flush()
    await world.redis.flushall()
    for name, value in dump.items():
        await world.redis.restore(name, 0, value)
    await world.projection.flush()
    await world.projection.flush()
    await world.agrees()
    assert world.projection.stats.drifts == 1


async def test_a_full_redis_writes_nothing_by_halves() -> None:
    async with Valkey() as server:
        world = World(server.url)
        world.churn(100)
        await world.projection.flush()
        before = await load(world.redis)
        await world.redis.config_set("maxmemory", "1mb")
        await world.redis.config_set("maxmemory-policy", "noeviction")
        world.churn(100)
        with pytest.raises(Exception, match="maxmemory"):
            await world.projection.flush()
        assert await load(world.redis) == before
        await world.redis.config_set("maxmemory", "0")
        await world.projection.flush()
        await world.agrees()
        await world.close()


async def test_a_killed_redis_goes_on_where_it_was(make: Make, redis_server: Redis) -> None:
    world = make()
    running = asyncio.create_task(world.projection.run())
    world.churn(100)
    await settled(world)
    await redis_server.kill()
    world.churn(100)
    await asyncio.sleep(0.3)
    await redis_server.start()
    await settled(world)
    await world.agrees()
    world.projection.stop()
    await asyncio.wait_for(running, 3)


async def test_calls_that_come_and_are_forgotten_while_redis_is_away_do_not_wait_for_it(
    make: Make, redis_server: Redis
) -> None:
    world = make()
    world.churn(50)
    await world.projection.flush()
    written = len(world.table.calls)
    await redis_server.kill()
    for _ in range(20):
        world.churn(300)
        everything = world.table.close_missing("n1", stamp_of(1, world.seq, True), set(), 1)
        for change in everything:
            world.note(change)
        world.projection.forget(world.table.trim(0, 10))
        with pytest.raises(Exception, match=r"(?i)connect|closed|reset"):
            await world.projection.flush()
    assert world.projection.dirty <= written + len(world.table.calls)
    await redis_server.start()
    for _ in range(3):
        await world.projection.flush()
    await world.agrees()


async def test_what_is_on_its_way_to_redis_is_not_yet_there(
    make: Make, redis_server: Redis
) -> None:
    world = make()
    await world.projection.flush()
    world.churn(50)
    changed = world.projection.dirty
    redis_server.pause()
    flushing = asyncio.create_task(world.projection.flush())
    for _ in range(20):
        await asyncio.sleep(0.01)
        assert world.projection.dirty == changed
    redis_server.resume()
    await flushing
    assert world.projection.dirty == 0
    await world.agrees()


async def test_a_redis_that_hangs_stops_nobody(make: Make, redis_server: Redis) -> None:
    world = make()
    running = asyncio.create_task(world.projection.run())
    world.churn(50)
    await settled(world)
    redis_server.pause()
    started = asyncio.get_running_loop().time()
    world.churn(500)
    await asyncio.sleep(0.2)
    assert asyncio.get_running_loop().time() - started < 1
    world.projection.stop()
    await asyncio.wait_for(running, 8)  # its own time-outs end it
    redis_server.resume()


async def settled(world: World) -> None:
    async with asyncio.timeout(10):
        while world.projection.standby or world.projection.dirty:
            await asyncio.sleep(0.02)
        before = world.projection.stats.flushes
        while world.projection.dirty or world.projection.stats.flushes == before:
            await asyncio.sleep(0.02)


class LossyLine:
    """A line to Redis on which replies can be lost after the command was carried out."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.lose = False
        self.lost = 0
        self.serving: set[asyncio.Task[None]] = set()
        self.open: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> LossyLine:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.open:
            writer.transport.abort()
        await asyncio.gather(*self.serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        inner, outer = await asyncio.open_connection("127.0.0.1", self.target)
        self.open += (writer, outer)

        async def answers() -> None:
            while data := await inner.read(65536):
                if self.lose:
                    self.lose = False
                    self.lost += 1
                    writer.transport.abort()
                    return
                writer.write(data)

        back = asyncio.create_task(answers())
        try:
            while data := await reader.read(65536):
                outer.write(data)
        except OSError:
            pass
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            for one in (writer, outer):
                one.transport.abort()
                with contextlib.suppress(OSError):
                    await one.wait_closed()


async def test_a_lost_reply_writes_nothing_twice_and_nothing_never(redis_server: Redis) -> None:
    async with LossyLine(redis_server.port) as line:
        world = World(f"redis://127.0.0.1:{line.port}/0")
        world.churn(50)
        await world.projection.flush()
        for _ in range(5):
            world.churn(30)
            line.lose = True
            with pytest.raises(Exception, match=r"(?i)connection|closed"):
                await world.projection.flush()
            world.churn(10)
            await world.projection.flush()
            await world.agrees()
        assert line.lost == 5
        assert world.projection.stats.drifts == 0  # seen through, not healed by brute force
        await world.close()


async def test_a_writer_that_was_stopped_for_long_is_fenced_off(make: Make) -> None:
    old, new = make(epoch="a" * 16), make(epoch="b" * 16, holder="there")
    old.churn(50)
    await old.projection.flush()
    await old.redis.delete(WRITER)  # its lease is over, and it does not know
    new.churn(70)
    await new.projection.flush()
    old.churn(20)
    await old.projection.flush()
    assert old.projection.standby
    assert old.projection.stats.refused_by_fence == 1
    await new.agrees()
    new.churn(20)
    await new.projection.flush()
    await new.agrees()


async def test_a_standby_takes_over_when_the_writer_leaves(make: Make) -> None:
    writer, standby = make(epoch="a" * 16), make(epoch="b" * 16, holder="there")
    writing = asyncio.create_task(writer.projection.run())
    writer.churn(50)
    await settled(writer)
    standing_by = asyncio.create_task(standby.projection.run())
    standby.churn(80)
    await asyncio.sleep(0.6)  # it asks meanwhile
    assert standby.projection.standby
    await writer.agrees()
    writer.projection.stop()
    await asyncio.wait_for(writing, 3)
    await settled(standby)
    await standby.agrees()
    standby.projection.stop()
    await asyncio.wait_for(standing_by, 3)


async def test_who_is_started_anew_takes_over_from_itself_at_once(make: Make) -> None:
    killed, again = make(epoch="a" * 16), make(epoch="a" * 16)
    killed.churn(50)
    await killed.projection.flush()
    again.churn(30)
    await again.projection.flush()
    assert not again.projection.standby
    await again.agrees()


async def test_a_lease_that_never_ends_binds_nobody(make: Make) -> None:
    world = make()
    await world.redis.set(WRITER, "somebody long gone")
    world.churn(50)
    await world.projection.flush()
    await world.agrees()


async def test_a_fence_grows_even_when_redis_has_forgotten_it(make: Make) -> None:
    old, new = make(epoch="a" * 16), make(epoch="b" * 16, holder="there")
    for _ in range(3):
        await old.projection.flush()
        old.projection.lease.lose()
    await old.projection.flush()
    await new.projection.flush()
    assert new.projection.standby
    await old.redis.flushall()
    await new.projection.flush()
    assert new.projection.lease.fence > old.projection.lease.fence
    new.churn(30)
    await new.projection.flush()
    await old.projection.flush()
    assert old.projection.standby
    await new.agrees()


EDITS: dict[str, str] = {
    "a state": """
        local key = redis.call('HKEYS', KEYS[2])[1]
        local told = redis.call('HGET', KEYS[2], key)
        return redis.call('HSET', KEYS[2], key, (string.gsub(told, '"node":"n1"', '"node":"n9"')))
    """,
    "a record": "return redis.call('HSET', KEYS[2], redis.call('HKEYS', KEYS[2])[1], 'x')",
    "a score": "return redis.call('ZADD', KEYS[1], 5, redis.call('ZRANGE', KEYS[1], 0, 0)[1])",
    "a tombstone": "return redis.call('HSET', KEYS[3], redis.call('HKEYS', KEYS[3])[1], '{}')",
}


@pytest.mark.parametrize("what", EDITS)
async def test_what_was_edited_is_noticed_and_healed(
    make: Make, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "AUDIT_SECONDS", 0.02)
    world = make()
    world.churn(300)
    running = asyncio.create_task(world.projection.run())
    await settled(world)
    await world.redis.eval(EDITS[what], 3, *KEYS[:3])
    async with asyncio.timeout(5):
        while world.projection.stats.rewrites < 2:
            await asyncio.sleep(0.02)
    await settled(world)
    await world.agrees()
    assert world.projection.stats.drifts == 1
    world.projection.stop()
    await asyncio.wait_for(running, 3)


async def test_an_audit_finds_nothing_where_nothing_is_wrong(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_module, "AUDIT_SECONDS", 0.0)
    world = make()
    running = asyncio.create_task(world.projection.run())
    for _ in range(100):
        world.churn(30)
        await asyncio.sleep(0.01)
    await settled(world)
    await world.agrees()
    assert (world.projection.stats.rewrites, world.projection.stats.drifts) == (1, 0)
    world.projection.stop()
    await asyncio.wait_for(running, 3)


async def test_a_restart_takes_everything_back_and_old_positions_stay_good(make: Make) -> None:
    world = make(epoch=f"{0:016x}")
    tags: dict[str | None, tuple[str, int]] = {}
    for epoch in range(1, 6):
        world.churn(200)
        await world.projection.flush()
        tags = {view.scope.company_id: (view.tag, view.version) for view in world.table.views()}
        told = {c: shown(world.table, c) for c in tags}
        world.churn(30)  # never written: lost with the process
        loaded = await load(world.redis)
        assert loaded is not None
        world = make(epoch=f"{epoch:016x}", loaded=loaded)
        live = {key for key, call in world.table.calls.items() if call.live}
        assert live == {call.key for call, _ in loaded.calls if call.live}
        assert [world.table.calls[call.key] for call, _ in loaded.calls] == [
            call for call, _ in loaded.calls
        ]  # fmt: skip
        for company, (tag, version) in tags.items():
            view = world.table.view(Scope(company))
            assert view.resumable(tag, version)
            assert not view.resumable(tag, version + 1)
            for key, call, at in view.since(version):
                assert at > version
                if call is None:
                    told[company].pop(key, None)
                else:
                    told[company][key] = at
            assert told[company] == shown(world.table, company)


def shown(table: ActiveCalls, company: str | None) -> dict[str, int]:
    return {key: at for key, _, at in table.view(Scope(company)).snapshot()}


@given(st.one_of(st.sampled_from(real_calls()), invented_calls()), st.integers(1, 9), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_stored_call_is_the_same_call_again(events: Any, upto: int, unsure: bool) -> None:
    call = fold(events[:upto])
    if unsure:
        call = call._replace(unconfirmed=True)
    again, versions = decode(call.key, encode(call, {"": 3, "101": 2}))
    assert same(again) == same(call)
    assert versions == {"": 3, "101": 2}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
_FIELDS = [*orjson.loads(encode(fold(real_calls()[0]), {"": 1})), "older", "unconfirmed", "odd"]


@given(st.dictionaries(st.sampled_from(_FIELDS), JSON, max_size=3), st.integers(0, 300),
       st.binary(max_size=4))  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_a_hand_edited_record_is_a_call_or_unusable(
    edits: dict[str, Any], cut: int, junk: bytes
) -> None:
    good = orjson.loads(encode(fold(real_calls()[0]), {"": 1}))
    try:
        data = orjson.dumps(good | edits)
    except TypeError:
        return  # an integer that JSON of ours cannot write
    for one in (data, data[:cut] + junk + data[cut:], data[:cut], junk):
        try:
            call, _ = decode("k", one)
        except SnapshotUnusable as unusable:
            assert unusable.key == "k"
        else:
            encode(call, {})


async def test_a_record_that_is_none_loses_only_itself(make: Make) -> None:
    world = make()
    world.churn(100)
    await world.projection.flush()
    live = next(key for key, call in world.table.calls.items() if call.live)
    await world.redis.hset("{active_calls}:calls", live, "nonsense")
    loaded = await load(world.redis)
    assert loaded is not None
    assert loaded.unusable == 1
    assert len(loaded.calls) == len(world.table.calls) - 1


@pytest.mark.parametrize("edit", [
    {"secret": "z" * 32}, {"secret": "0"}, {"secret": b"\xff" * 32}, {"epoch": b"\xff"},
    {"epoch": ""},
])  # fmt: skip
async def test_an_edited_name_of_the_table_is_a_start_without_it(
    make: Make, edit: dict[str, str | bytes]
) -> None:
    world = make()
    world.churn(100)
    await world.projection.flush()
    await world.redis.hset("{active_calls}:meta", mapping=edit)
    assert await load(world.redis) is None


async def test_an_edited_version_of_a_scope_is_none(make: Make) -> None:
    world = make()
    world.churn(100)
    await world.projection.flush()
    await world.redis.hset("{active_calls}:scopes", "version:", "9" * 5_000)
    loaded = await load(world.redis)
    assert loaded is not None
    assert loaded.scopes[""][0] == 0


async def test_a_call_that_ends_while_we_load_is_taken_back_once(make: Make) -> None:
    writer = make()
    writer.churn(100)
    await writer.projection.flush()
    up = [call for call in writer.table.calls.values() if call.live]
    calls = await writer.redis.hgetall("{active_calls}:calls")
    for call in up[:3]:
        told = event("ended", 10_000, dialog=call.dialog, call_id=call.call_id)
        writer.note(writer.table.apply(told, 10_000))
    await writer.projection.flush()
    # As a scan shows it that began before this flush and ended after it.
    await writer.redis.hset("{active_calls}:calls", mapping=calls)
    loaded = await load(writer.redis)
    assert loaded is not None
    proves_itself(make(epoch="b" * 16, loaded=loaded).table, live=len(up) - 3)


async def test_a_call_whose_versions_were_edited_is_seen_if_it_is_up(make: Make) -> None:
    writer = make()
    writer.churn(100)
    await writer.projection.flush()
    up = [call for call in writer.table.calls.values() if call.live]
    for call, versions in ((up[0], {}), (up[1], {"elsewhere": 7}), (up[2], {"": 3})):
        await writer.redis.hset("{active_calls}:calls", call.key, encode(call, versions))
    over = up.pop()
    told = event("ended", 10_000, dialog=over.dialog, call_id=over.call_id)
    writer.note(writer.table.apply(told, 10_000))
    await writer.projection.flush()
    over = writer.table.calls[over.key]
    await writer.redis.hset("{active_calls}:ended", over.key, encode(over, {"": 0}))
    loaded = await load(writer.redis)
    assert loaded is not None
    proves_itself(make(epoch="b" * 16, loaded=loaded).table, live=len(up))


def proves_itself(table: ActiveCalls, live: int) -> None:
    """What a heartbeat tells of each scope is what its snapshot holds."""
    assert table.live == live == len(shown(table, None))
    for view in table.views():
        held = shown(table, view.scope.company_id)
        assert (view.live, view.digest) == (len(held), sum(held.values()))
        assert set(held) == {key for key, call in table.calls.items() if view.holds(call)}
