"""A warm engine follows the flushes of another one through a real Redis, whatever happens to it.

Where the stream of flushes does not lead on, the whole table is read again: that is counted, what
is at hand afterwards is right, and until then nothing is at hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from livestate.cluster.succession import SKIPPED
from livestate.devtools.servers import Redis
from livestate.process.tasks import cancel_and_wait
from livestate.redis.connection import connect
from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.store import following, projection
from livestate.store.following import Following
from livestate.store.keys import UNPREFIXED
from livestate.store.lease import Terms
from livestate.store.loader import load
from livestate.store.projection import Projection
from tests.calls import event
from tests.promises.test_order import same
from tests.redis_world import eventually, kinds, replicate

FLUSHES = UNPREFIXED.flushes
TERMS = Terms(1_500, 0.05, 0.1)


@pytest.fixture(params=kinds(), ids=lambda kind: kind.name)
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    async with request.param() as server:
        yield server


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "EVERY_SECONDS", 0.02)
    monkeypatch.setattr(following, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(projection, "AUDIT_SECONDS", 0.1)


class Engine:
    """A table with its projection. Both engines fold the same events; one of them leads."""

    def __init__(self, url: str, name: str) -> None:
        self.redis = connect(url)
        self.table = ActiveCalls(secret=b"s" * 16, epoch=name * 16)
        self.projection = Projection(
            self.redis, self.table, secret=b"s" * 16, clock=lambda: 7, holder=name,
            flush_seconds=0.01, terms=TERMS, continues=True,
        )  # fmt: skip
        self.tasks = [
            asyncio.create_task(self.projection.run()),
            asyncio.create_task(self.projection.keep_lease()),
        ]

    async def close(self) -> None:
        await cancel_and_wait(*self.tasks)
        await self.redis.aclose()


class World:
    def __init__(self, url: str) -> None:
        self.url, self.seq = url, 0
        self.leader = Engine(url, "a")

    async def start(self) -> None:
        await self.until(lambda: not self.leader.projection.standby)
        self.warm = Engine(self.url, "b")
        self.following = Following(
            self.warm.redis, UNPREFIXED, self.warm.table, projection=self.warm.projection,
            clock=lambda: 7, ended_ms=60_000, ended_calls=1_000,
        )  # fmt: skip
        self.warm.tasks.append(asyncio.create_task(self.following.run()))
        self.happen(20)
        await self.until(lambda: self.following.at_hand)

    async def close(self) -> None:
        await self.warm.close()
        await self.leader.close()

    async def until(self, so: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not so():
                await asyncio.sleep(0.01)

    def happen(self, events: int, *, heard: bool = True) -> None:
        """Events that the leader folds, and the warm engine if it hears them."""
        for _ in range(events):
            self.seq += 1
            phase = ("setup", "answered", "hold", "ended")[self.seq // 7 % 4]
            fields = {"dialog": f"{self.seq % 9}.{self.seq // 40}", "call_id": f"c{self.seq % 9}"}
            message = event(phase, self.seq, company_id="101", **fields)
            change = self.leader.table.apply(message, self.seq)
            if change is not None:
                self.leader.projection.on_change(change)
            change = self.warm.table.apply(message, self.seq) if heard else None
            if change is not None:
                self.following.on_change(change)

    async def reads_again(self, after: int) -> None:
        """The whole table is read again, and more than once would be once too many for a reason."""
        await self.until(lambda: self.following.read_whole > after and self.following.at_hand)

    async def right(self) -> None:
        """What is at hand is what Redis holds, and that is what the leader has."""
        self.happen(5)

        async def same_as_stored() -> bool:
            if self.leader.projection.dirty or not self.following.at_hand:
                return False
            loaded = await load(self.leader.redis)
            stored = self.following.stored
            if loaded is None or stored is None:
                return False
            here = {key: same(call) for key, call in stored.table.calls.items() if call.live}
            there = {call.key: same(call) for call, _ in loaded.calls if call.live}
            live = {k: same(c) for k, c in self.leader.table.calls.items() if c.live}
            rows = {
                company: dict(stored.table.view(Scope(company)).rows) for company in (None, "101")
            }
            wanted = {
                company: {
                    call.key: versions[company or ""] for call, versions in loaded.calls
                    if call.live
                }
                for company in rows
            }  # fmt: skip
            return here == there == live and all(
                wanted[company].items() <= rows[company].items() for company in rows
            )

        async with asyncio.timeout(30):
            while not await same_as_stored():
                await asyncio.sleep(0.02)

    async def right_if_it_leads(self) -> bool:
        """False if the warm engine claimed the lease instead: it writes what it folded itself."""
        right = asyncio.create_task(self.right())
        while not right.done():
            if not self.warm.projection.standby:
                await cancel_and_wait(right)
                return False
            await asyncio.sleep(0.01)
        await right
        return True

    async def takes_over(self) -> None:
        """The warm engine goes on with the versions that Redis holds."""
        stored_version = (await load(self.leader.redis)).scopes["101"][0]  # type: ignore[union-attr]
        await self.leader.close()
        stored = await self.following.complete()
        assert stored is not None
        stored.go_on(SKIPPED)
        while not stored.merge(7):
            pass
        stored.exchange()
        assert {key: same(call) for key, call in self.warm.table.calls.items() if call.live} == {
            key: same(call) for key, call in self.leader.table.calls.items() if call.live
        }
        assert self.warm.table.view(Scope("101")).predecessor[1] == stored_version  # type: ignore[index]


@pytest.fixture
async def world(redis: Redis) -> AsyncIterator[World]:
    made = World(redis.url)
    await made.start()
    yield made
    await made.close()


async def an_entry_is_lost(world: World, client: Client) -> None:
    """As after a failover to a replica that lacked it."""
    last = (await client.xrevrange(FLUSHES, count=1))[0][0].decode()
    fence, _, flush = last.partition("-")
    await client.xadd(FLUSHES, {"keys": "", "scopes": "[]"}, id=f"{fence}-{int(flush) + 3}")


async def the_stream_is_deleted(world: World, client: Client) -> None:
    """Flushes go on with the next number."""
    world.happen(3)
    await asyncio.sleep(0.05)
    await client.delete(FLUSHES)


async def the_stream_is_a_string(world: World, client: Client) -> None:
    await client.set(FLUSHES, "x")


async def an_entry_is_no_flush(world: World, client: Client) -> None:
    last = (await client.xrevrange(FLUSHES, count=1))[0][0].decode()
    fence, _, flush = last.partition("-")
    await client.xadd(FLUSHES, {"other": "x"}, id=f"{fence}-{int(flush) + 1}")


async def a_record_is_edited(world: World, client: Client) -> None:
    key = next(key for key, call in world.leader.table.calls.items() if call.live)
    await client.hset(UNPREFIXED.calls, key, b"{}")  # type: ignore[misc]
    last = (await client.xrevrange(FLUSHES, count=1))[0][0].decode()
    fence, _, flush = last.partition("-")
    entry = {"keys": key, "scopes": "[]"}
    await client.xadd(FLUSHES, entry, id=f"{fence}-{int(flush) + 1}")


Harm = Callable[[World, Client], Awaitable[None]]


@pytest.mark.parametrize(
    "harm",
    [an_entry_is_lost, the_stream_is_a_string, an_entry_is_no_flush, a_record_is_edited],
    ids=lambda harm: harm.__name__,
)
async def test_the_whole_table_is_read_again(world: World, redis: Redis, harm: Harm) -> None:
    await world.right()
    read = world.following.read_whole
    async with Client.from_url(redis.url) as client:
        await harm(world, client)
    await world.until(lambda: world.following.gaps.total())
    assert not world.following.at_hand or world.following.read_whole > read
    world.happen(3)
    await world.reads_again(read)
    await world.right()
    assert world.following.status()["gaps"]
    await world.takes_over()


async def test_a_stream_that_is_deleted_between_two_reads_is_no_gap_or_is_noticed(
    world: World, redis: Redis
) -> None:
    async with Client.from_url(redis.url) as client:
        await the_stream_is_deleted(world, client)
    world.happen(5)
    await world.right()
    await world.takes_over()


async def test_a_stream_that_was_trimmed_past_the_reader_is_a_gap(
    world: World, redis: Redis
) -> None:
    await world.right()
    read = world.following.read_whole
    async with world.following._reading:  # it stands still meanwhile
        flushes = world.leader.projection.stats.flushes
        for number in range(1, 6):
            world.happen(2)
            await world.until(lambda n=number: world.leader.projection.stats.flushes >= flushes + n)
        async with Client.from_url(redis.url) as client:
            await client.xtrim(FLUSHES, maxlen=1, approximate=False)
    await world.reads_again(read)
    assert world.following.gaps["gap"]
    await world.right()
    await world.takes_over()


async def test_redis_comes_back_empty(world: World, redis: Redis) -> None:
    await world.right()
    read = world.following.read_whole
    await redis.kill()
    world.happen(7)
    for file in redis.data.glob("*"):
        if file.is_file():
            file.unlink()
    await redis.start()
    # Either engine may claim the lease now; the other one follows.
    if await world.right_if_it_leads():
        assert world.following.read_whole > read


async def test_redis_comes_back_with_an_old_dump(world: World, redis: Redis) -> None:
    await world.right()
    async with Client.from_url(redis.url) as client:
        await client.save()
    dump = next(redis.data.rglob("*.rdb")).read_bytes()
    world.happen(30)
    await world.right()
    where = next(redis.data.rglob("*.rdb"))
    leader, warm = world.leader.projection, world.warm.projection
    rewrites = leader.stats.rewrites
    await redis.kill()
    where.write_bytes(dump)
    await redis.start()
    # The leader's audit sees another server within two seconds and writes everything again, with
    # another fence. Before that is read here, all can look right, and a takeover in that moment
    # reads the whole table.
    await world.until(lambda: leader.stats.rewrites > rewrites or not warm.standby)
    await world.until(lambda: world.following._fence == leader.lease.fence or not warm.standby)
    if await world.right_if_it_leads():
        await world.takes_over()


async def test_a_replica_that_lacks_the_last_flushes_is_promoted(redis: Redis) -> None:
    """The fence stays, and the number of the flush goes back: the leader writes everything anew."""
    async with type(redis)() as replica:
        world = World(redis.url)
        await world.start()
        try:
            await replicate(redis, replica)
            await world.right()
            async with Client.from_url(replica.url) as promoted:
                await promoted.execute_command("REPLICAOF", "NO", "ONE")
                names = set(await promoted.keys("*")) - {UNPREFIXED.writer.encode()}
                old = {name: await promoted.dump(name) for name in names}
            world.happen(30)
            await world.right()
            read = world.following.read_whole
            async with Client.from_url(redis.url) as client:
                # What a client sees behind one address: the promoted one's content.
                pipe = client.pipeline(transaction=True)
                pipe.delete(*await client.keys("{active_calls}:[^w]*"), UNPREFIXED.active)
                for name, data in old.items():
                    pipe.restore(name, 0, data)
                await pipe.execute()
            world.happen(3)
            await world.until(lambda: world.following.read_whole > read)
            await world.right()
            await world.takes_over()
        finally:
            await world.close()


async def test_redis_is_away_for_a_while(world: World, redis: Redis) -> None:
    await world.right()
    redis.pause()
    world.happen(10)
    await asyncio.sleep(0.3)
    redis.resume()
    await eventually(world.leader.redis.ping)
    await world.right()
    await world.takes_over()
