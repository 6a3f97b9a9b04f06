"""Promise R at a start: calls, keys and positions come back from Redis, also from an edited one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis as RedisClient

from livestate.state.access import Scope
from livestate.state.active_calls import ActiveCalls
from livestate.store import loader
from livestate.store.loader import load
from livestate.store.record import encode
from tests.calls import event, real_calls
from tests.promises.projection import (
    WRITER,
    Make,
    shown,
)
from tests.promises.test_order import fold, same


async def test_a_restart_takes_everything_back_and_old_positions_stay_good(make: Make) -> None:
    world = make(epoch=f"{0:016x}")
    tags: dict[str | None, tuple[str, int]] = {}
    for epoch in range(1, 6):
        world.churn(200)
        await world.projection.flush()
        tags = {view.scope.company_id: (view.tag, view.version) for view in world.table.views}
        expected = {c: shown(world.table, c) for c in tags}
        world.churn(30)  # never written: lost with the process
        await world.redis.delete(WRITER)  # its lease ends
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
                    expected[company].pop(key, None)
                else:
                    expected[company][key] = at
            assert expected[company] == shown(world.table, company)


KEYS_OF_THE_TABLE = ("active_calls", "{active_calls}:scopes", "{active_calls}:meta")


LOADED_ALL_THE_SAME: dict[str, Callable[[RedisClient], Any]] = {
    **{f"meta {name} {value!r}": lambda redis, name=name, value=value: redis.hset(
        "{active_calls}:meta", name, value) for name, value in (
            ("secret", "z" * 32), ("secret", "0"), ("secret", b"\xff" * 32), ("secret", "0" * 32),
            ("epoch", b"\xff"), ("epoch", ""), ("epoch", "f" * 16), ("fence", "-1"), ("flush", "x"),
        )},
    **{f"meta without {name}": lambda redis, name=name: redis.hdel("{active_calls}:meta", name)
       for name in ("secret", "epoch", "fence", "flush", "cdr", "as_of")},
    **{f"{key} deleted": lambda redis, key=key: redis.delete(key) for key in KEYS_OF_THE_TABLE},
    **{f"{key} a string": lambda redis, key=key: redis.set(key, "x") for key in KEYS_OF_THE_TABLE},
    "the copy of the secret": lambda redis: redis.hset(
        "{active_calls}:scopes", "copy:secret", "f" * 32),
    "a version raised": lambda redis: redis.hincrby("{active_calls}:scopes", "version:", 10**6),
    "a version lowered": lambda redis: redis.hincrby("{active_calls}:scopes", "version:", -9),
    "a version below zero": lambda redis: redis.hset("{active_calls}:scopes", "version:101", -9),
    "a floor raised": lambda redis: redis.hset("{active_calls}:scopes", "floor:", 10**6),
    "a scope of nobody": lambda redis: redis.hset("{active_calls}:scopes", "version:999", 7),
    "a time to live": lambda redis: redis.expire("{active_calls}:calls", 100),
    "a call of nobody": lambda redis: redis.hset(
        "{active_calls}:calls", "ghost", encode(fold(real_calls()[0]).replaced(key="ghost"), {})),
    "a call under another key": lambda redis: redis.eval(
        "return redis.call('HSET', KEYS[1], 'ghost', redis.call('HVALS', KEYS[1])[1])", 1,
        "{active_calls}:calls"),
}  # fmt: skip


@pytest.mark.parametrize("what", LOADED_ALL_THE_SAME)
async def test_a_start_right_after_an_edit_has_all_calls_under_their_keys(
    make: Make, what: str
) -> None:
    """A kill -9 before anybody noticed: no call is lost by it, none gets another name."""
    world = make()
    for _ in range(3):  # a whole table, and what changed since
        world.churn(50)
        await world.projection.flush()
    await LOADED_ALL_THE_SAME[what](world.redis)
    loaded = await load(world.redis)
    assert loaded is not None
    again = make(epoch="b" * 16, loaded=loaded).table
    assert {key: same(call) for key, call in again.calls.items()} == {
        key: same(call) for key, call in world.table.calls.items()
    }
    live = next(call for call in world.table.calls.values() if call.live)
    assert again.key_of(live.node, live.dialog, live.call_id) == live.key
    proves_itself(again, live=world.table.live)


async def test_without_the_old_secret_calls_get_new_keys(
    make: Make,
) -> None:
    world = make()
    world.churn(100)
    await world.projection.flush()
    await world.redis.delete("{active_calls}:meta", "{active_calls}:scopes")
    loaded = await load(world.redis)
    assert loaded is not None
    again = make(epoch="b" * 16, loaded=loaded).table
    assert {(call.identity, call.position) for call in again.calls.values()} == {
        (call.identity, call.position) for call in world.table.calls.values()
    }
    proves_itself(again, live=world.table.live)
    for view in world.table.views:
        assert not again.view(view.scope).resumable(view.tag, view.version), "its keys are gone"


async def test_a_redis_that_is_replaced_while_it_is_read_is_read_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make(epoch="a" * 16), make(epoch="b" * 16)
    old.churn(300)
    await old.projection.flush()
    new.churn(300)
    type_of, looked = loader._type, 0

    async def replaced_meanwhile(redis: Any, key: str) -> bytes:
        nonlocal looked
        looked += key == "{active_calls}:ended"
        if looked == 1 and key == "{active_calls}:ended":
            await redis.flushall()
            await new.projection.flush()
        return await type_of(redis, key)

    monkeypatch.setattr(loader, "_type", replaced_meanwhile)
    loaded = await load(old.redis)
    assert loaded is not None
    assert looked == 2
    assert {call.key for call, _ in loaded.calls} == set(new.table.calls)


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
        end = event("ended", 10_000, dialog=call.dialog, call_id=call.call_id)
        writer.note(writer.table.apply(end, 10_000))
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
    end = event("ended", 10_000, dialog=over.dialog, call_id=over.call_id)
    writer.note(writer.table.apply(end, 10_000))
    await writer.projection.flush()
    over = writer.table.calls[over.key]
    await writer.redis.hset("{active_calls}:ended", over.key, encode(over, {"": 0}))
    loaded = await load(writer.redis)
    assert loaded is not None
    proves_itself(make(epoch="b" * 16, loaded=loaded).table, live=len(up))


def proves_itself(table: ActiveCalls, live: int) -> None:
    """What a heartbeat tells of each scope is what its snapshot holds."""
    assert table.live == live == len(shown(table, None))
    for view in table.views:
        held = shown(table, view.scope.company_id)
        assert (view.live, view.digest) == (len(held), sum(held.values()))
        assert set(held) == {key for key, call in table.calls.items() if view.holds(call)}
