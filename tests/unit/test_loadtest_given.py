"""``livestate loadtest --url …``: a service that runs already, with edges or without."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth import demo_key
from api.cli.child_service import Instance
from livestate.client.paths import STREAM_PATH
from livestate.devtools.child_process import free_port
from livestate.devtools.servers import NatsServer, Valkey
from livestate.state.access import Scope
from livestate.state.nodes.clock_offset import TOLERANCE_MS
from loadtest import event_trace, given, logins
from loadtest.children import NotRun
from loadtest.given import Given
from loadtest.outcome import judged
from loadtest.profiles import profile
from tests.unit.test_loadtest import START, Service, call

SMALL = replace(profile("ci").scaled(8, 4, 40), processes=1)
WRONG = ("duplicates", "divergence", "foreign")


# -- logins --------------------------------------------------------------------------------


def test_a_file_of_tokens_gives_each_kind_of_user_its_own(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# noc\na.b.c\n\nd.e.f 101\n  g.h.i   102 \n")
    listed = logins.Listed(path)
    assert [listed.of("noc", n).token for n in range(2)] == ["a.b.c", "a.b.c"]
    assert [listed.of("user", n) for n in range(3)] == [
        ("d.e.f", "101"), ("g.h.i", "102"), ("d.e.f", "101"),
    ]  # fmt: skip
    assert listed.mix(profile("ci").mix) == profile("ci").mix


@pytest.mark.parametrize(
    ("text", "left"), [("a.b.c 101", {"CompanyDashboard"}), ("a.b.c", {"Dashboard", "Poller"})]
)
def test_users_without_a_login_are_left_out(text: str, left: set[str], tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    mix = {"Dashboard": 3, "CompanyDashboard": 2, "Poller": 1}
    assert logins.Listed(path).mix(mix).keys() == left


@pytest.mark.parametrize("text", ["", "# none", "a.b.c 101 102", "secret"])
def test_a_wrong_file_of_tokens_is_named_without_its_tokens(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(ValueError, match="tokens") as error:
        logins.read(path)
    assert "secret" not in str(error.value)


# -- what is judged ------------------------------------------------------------------------


def test_what_cannot_be_measured_from_outside_is_not_judged() -> None:
    watched = Given(("http://a",), Path("."))
    assert watched.not_judged(profile("ci")).keys() == {
        "redis", "service cpu", "receive p99", "receive max",
    }  # fmt: skip
    loaded = replace(watched, nats="nats://x", admin_urls=("http://b",))
    assert loaded.not_judged(profile("ci")).keys() == {"redis"}
    assert loaded.not_judged(profile("soak")).keys() == {
        "redis", "memory growth", "descriptor growth",
    }  # fmt: skip


@pytest.mark.parametrize(("rows", "reasons"), [(0, 1), (5, 0)])
def test_a_service_on_which_nothing_moves_makes_a_run_invalid(rows: int, reasons: int) -> None:
    result: dict[str, Any] = {
        "counts": {"workers that compared": 2, "rows": rows}, "histograms": {}, "percentiles": {},
        "steps": [], "service": {}, "ending": 1, "measured": (0.0, 9.0), "published": None,
    }  # fmt: skip
    found = judged(profile("ci"), result, [], 0).judgement
    assert len(found.reasons) == reasons
    assert all("no call changed" in reason for reason in found.reasons)


def test_a_client_is_compared_when_it_reaches_the_snapshot() -> None:
    service = Service()
    service.begin(a=call(3))
    watcher = service.watcher
    for position, calls, unequal in (
        (4, {"a": call(3), "b": call(4)}, 0),
        (5, {"a": call(3), "b": call(4)}, 1),  # c is missing there
    ):
        watcher.compared = False
        watcher.expect(f"{watcher.dashboard.last_id[:-1]}{position}", calls)
        assert not watcher.compared
        added = {4: {"b": call(4)}, 5: {"c": call(5)}}[position]
        service.say("diff", {"calls": added}, position)
        assert watcher.compared
        assert service.found("unequal") == unequal
    assert service.found("compared") == 2


def test_calls_of_other_nodes_are_folded_and_not_timed() -> None:
    service = Service(Scope())
    service.watcher.alone = False
    other = call(3, "sa") | {"node": "sbc-7", "state": "held", "detail": "s1"}
    service.begin(a=other)
    service.say("diff", {"calls": {"a": None}, "ended": {"a": {"ended_at": START + 9_000}}}, 4)
    service.say("diff", {"calls": {"z": None}, "ended": {"z": {"ended_at": START + 9_000}}}, 5)
    service.beat(5, 0, 0)
    service.ledger.settle()
    assert service.wrong == service.found("before its time") == 0
    assert "receive" not in service.ledger.histograms


# -- against servers -----------------------------------------------------------------------


async def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(NotRun, match=f"{url} cannot be reached"):
        await given.run(SMALL, tmp_path, Given((url,), tmp_path))


async def test_a_search_for_the_knee_needs_events(tmp_path: Path) -> None:
    with pytest.raises(NotRun, match="--nats-url"):
        await given.run(profile("capacity"), tmp_path, Given(("http://a",), tmp_path))


async def shown(edge: Instance) -> int:
    headers = {"Authorization": f"Bearer {edge.token()}"}
    async with httpx.AsyncClient() as client:
        calls = (await client.get(f"{edge.url}{STREAM_PATH}/snapshot", headers=headers)).json()
    return sum(map(event_trace.ours, calls["calls"].values()))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_edges_that_run_already_are_judged(tmp_path: Path) -> None:
    keys, said = tmp_path / "keys", list[str]()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        nats, redis = NatsServer(), Valkey()
        await asyncio.gather(enter(nats), enter(redis))
        addresses = {"NATS_URL": nats.url, "REDIS_URL": redis.url, "READY_SECONDS": "1"}
        engine, *edges = [
            Instance(keys, addresses | {"ROLE": role}) for role in ("engine", "edge", "edge")
        ]
        for each in (engine, *edges):
            await enter(each)
            await each.until_ready(60)
        urls = tuple(edge.url for edge in edges)
        admin = tuple(each.admin_url for each in (engine, *edges))
        strange = tmp_path / "strange"
        demo_key.jwks(strange)
        with pytest.raises(NotRun, match="answers 401 to the login"):
            await given.run(SMALL, tmp_path, Given(urls, strange))
        closed = f"nats://127.0.0.1:{free_port()}"
        with pytest.raises(
            NotRun, match=r"nothing can be published: .*Unreachable.*publisher\.log"
        ):
            await given.run(SMALL, tmp_path, Given(urls, keys, nats=closed))

        loaded = Given(urls, keys, nats=nats.url, admin_urls=admin)
        for _ in range(2):  # the second time the service still knows the calls of the first
            outcome = await given.run(SMALL, tmp_path / "out", loaded, say=said.append)
            found = {row.objective: row.found for row in outcome.judgement.rows}
            complaints = outcome.result["complaints"]
            assert [found[name] for name in WRONG] == [0] * len(WRONG), complaints
            # A machine may be so busy that a client does not read on in time, or that a publisher
            # is so late that the service takes the clocks of its nodes for wrong.
            if outcome.result["pressure"]["publisher_worst_ms"] <= TOLERANCE_MS:
                assert found["gaps"] == 0, complaints
            assert not [one for one in complaints if "there" in one], complaints
            assert outcome.result["counts"]["compared"] >= 1
            assert outcome.result["histograms"].keys() >= {"receive", "connect"}
            assert (found["service cpu"] or 0) > 0
            async with asyncio.timeout(30):
                while any([await shown(edge) for edge in edges]):
                    await asyncio.sleep(0.1)
        assert said == [f"{', '.join(urls)}; 8 users, 40 events/s"] * 2
