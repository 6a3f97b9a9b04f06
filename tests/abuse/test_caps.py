"""One user, or one address, cannot take what is for all: and cannot pretend to be another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.address import client_of, networks
from tests.abuse.conftest import MOST_PER_ADDRESS, MOST_PER_USER, Guarded
from tests.abuse.provider import claims, sign
from tests.harness import Stream, metrics

OPEN = "livestate_sse_subscribers"
PROXIES = networks("127.0.0.1,::1,10.0.0.0/8")


@contextlib.asynccontextmanager
async def opened(
    guarded: Guarded, clients: Iterable[dict[str, str]]
) -> AsyncIterator[list[Stream]]:
    """A stream for each client (``sub``, ``forwarded``, ``source``), all asked for at once; those
    that were let in. At the end none of them is counted any more."""
    before = (await metrics(guarded))[OPEN]
    streams = await asyncio.gather(*(
        Stream.open(
            guarded.url, sign(claims(sub=client.get("sub", "somebody"))),
            headers={"X-Forwarded-For": client["forwarded"]} if "forwarded" in client else None,
            source=client.get("source"),
        )
        for client in clients
    ))  # fmt: skip
    try:
        for stream in streams:
            await stream.until(lambda s: s.dashboard.complete or s.over.is_set(), 15)
            assert stream.status == 200  # any other status kills a native EventSource
            assert stream.dashboard.complete or stream.dashboard.goodbye == "overload"
            assert stream._parser.retry is not None
        yield [stream for stream in streams if stream.dashboard.complete]
    finally:
        await asyncio.gather(*(stream.close() for stream in streams))
        async with asyncio.timeout(10):
            while (await metrics(guarded))[OPEN] > before:
                await asyncio.sleep(0.02)


async def test_five_hundred_streams_of_one_user_are_as_many_as_he_may_have(
    guarded: Guarded,
) -> None:
    greedy = [{"sub": "greedy", "forwarded": f"198.51.100.{n % 250}"} for n in range(500)]
    async with opened(guarded, greedy) as in_:
        assert len(in_) == MOST_PER_USER
        async with opened(guarded, [{"sub": "modest", "forwarded": "198.51.100.1"}]) as other:
            assert len(other) == 1
            assert not any(stream.over.is_set() for stream in in_)
    async with opened(guarded, [{"sub": "greedy"}]) as again:  # who has left makes room
        assert len(again) == 1


@pytest.mark.parametrize(
    "spelling",
    [
        "203.0.113.7", "6.6.6.{n}, 203.0.113.7", "127.0.0.1, 203.0.113.7", "203.0.113.7:5{n}",
        "unknown, , 203.0.113.7", "203.0.113.7, 127.0.0.1", "::ffff:203.0.113.7",
        "2001:db8:0:1::{n}", "[2001:db8:0:1::{n}]:443", "9.9.9.{n}, 2001:db8:0:1:{n}::1",
    ],
)  # fmt: skip
async def test_an_address_is_counted_however_its_header_is_written(
    guarded: Guarded, spelling: str
) -> None:
    crowd = [{"sub": f"u{n}", "forwarded": spelling.format(n=n)} for n in range(60)]
    async with opened(guarded, crowd) as in_:
        assert len(in_) == MOST_PER_ADDRESS
        others = [{"forwarded": "203.0.113.8"}, {"forwarded": "6.6.6.1"}, {"source": "127.0.0.3"},
                  {"forwarded": "2001:db8:0:2::1"}, {}]  # fmt: skip
        async with opened(guarded, others) as beside:
            assert len(beside) == len(others)


async def test_the_cap_counts_the_real_outside_address(
    guarded: Guarded,
) -> None:
    """127.0.0.2 is no proxy of ours: what it says is not heard, and shifts nothing to others."""
    victim = "192.0.2.1"
    claimed = ("127.0.0.1", victim, f"{victim}, 127.0.0.1", "::1", "", "x")
    crowd = [{"sub": f"u{n}", "source": "127.0.0.2", "forwarded": claimed[n % len(claimed)]}
             for n in range(500)]  # fmt: skip
    async with opened(guarded, crowd) as in_:
        assert len(in_) == MOST_PER_ADDRESS
        crowd = [{"sub": f"v{n}", "forwarded": victim} for n in range(MOST_PER_ADDRESS)]
        async with opened(guarded, crowd) as beside:
            assert len(beside) == MOST_PER_ADDRESS


async def test_our_own_machines_are_not_counted_per_address(guarded: Guarded) -> None:
    """Behind a proxy that names nobody are all dashboards: a cap on its address would be theirs."""
    crowd = [{"sub": f"wall-{n}"} for n in range(3 * MOST_PER_ADDRESS)]
    async with opened(guarded, crowd) as in_:
        assert len(in_) == len(crowd)


ADDRESSES = st.builds(str, st.builds(IPv4Address, st.integers(0xCB007100, 0xCB0071FF)))
TOLD = st.lists(st.text(st.characters(codec="ascii"), max_size=12) | ADDRESSES, max_size=4)


@given(TOLD, TOLD, ADDRESSES)
def test_nothing_a_client_writes_changes_on_whom_it_is_counted(
    first: list[str], second: list[str], seen: str
) -> None:
    honest = client_of("127.0.0.1", [seen], PROXIES)
    appended = ", ".join([*second, seen])
    assert client_of("127.0.0.1", [*first, appended], PROXIES) == honest == seen
    assert client_of("127.0.0.1", [*first, appended, "10.1.2.3"], PROXIES) == seen
    assert client_of(seen, [*first, *second], PROXIES) == seen


@given(st.text("xyz.: ", max_size=20), st.integers(0, 2**64 - 1))
def test_what_is_no_address_is_counted_on_its_proxy_and_ipv6_by_its_site(
    odd: str, host: int
) -> None:
    assert client_of("10.0.0.9", [f"{odd}x"], PROXIES) == "10.0.0.9"
    site = int(IPv6Address("2001:db8::"))
    assert client_of(str(IPv6Address(site | host)), [], PROXIES) == "2001:db8::/64"
    assert client_of("10.0.0.9", [], PROXIES) is None
