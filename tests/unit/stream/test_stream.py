"""The wire: what a dashboard gets from ``GET /api/v1/live/calls``, on a real socket."""

from __future__ import annotations

import asyncio
import itertools
import re

import httpx
import pytest

from api.cli.child_service import Instance
from tests.harness import STREAM, Node, Stream, agrees, bearer, until_folded

_companies = itertools.count(1)


@pytest.fixture
def company() -> str:
    return f"stream-{next(_companies)}"


async def test_a_stream_begins_with_retry_then_a_snapshot_then_whether_it_is_live(
    service: Instance, node: Node, company: str
) -> None:
    await node.call("1.1", company_id=company)
    token = service.token("user", company_id=company)
    await until_folded(service, token, ["answered"])
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert re.match(rb"retry: [1-3]\d{3}\nevent: snapshot\nid: ", stream.body)
        assert [event.name for event in stream.events[:2]] == ["snapshot", "heartbeat"]
        beat = stream.named("heartbeat")[0]
        assert beat["source"] in ("live", "stale")
        assert beat["calls"] == 1


async def test_a_call_appears_rings_is_answered_held_and_ends(
    service: Instance, node: Node, company: str
) -> None:
    token = service.token()
    async with await Stream.open(service.url, token, query={"company_id": company}) as stream:
        await stream.until(lambda s: s.named("snapshot"))
        assert stream.dashboard.calls == {}
        call_id = f"7.7@{node.name}"
        for phase, state in (("setup", "trying"), ("ringing", "ringing"), ("answered", "answered"),
                             ("hold", "held"), ("resume", "answered")):  # fmt: skip
            await node.say(phase, "7.7", company_id=company, from_="0039021", to="112")
            await stream.until(lambda s, state=state: s.states == {call_id: state})
        await agrees(service, stream, token, {"company_id": company})
        await node.say("ended", "7.7", company_id=company, outcome="answered", ended_at=node.epoch)
        await stream.until(lambda s: s.states == {})
        last = stream.named("diff")[-1]
        (key,) = last["calls"]
        assert last["ended"][key]["outcome"] == "answered"
        assert last["ended"][key]["ended_at"] == node.epoch


async def test_a_diff_carries_only_what_changed(
    service: Instance, node: Node, company: str
) -> None:
    await node.call("1.1", company_id=company, from_="alice", to="bob")
    token = service.token("user", company_id=company)
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: "answered" in s.states.values())
        await node.say("hold", "1.1", company_id=company)
        await stream.until(lambda s: "held" in s.states.values())
        (change,) = stream.named("diff")[-1]["calls"].values()
        assert change.keys() == {"state", "v"}
        assert change["state"] == "held"


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_client_that_comes_back_gets_what_it_missed_and_no_more(
    service: Instance, node: Node, company: str, way: str
) -> None:
    await node.call("1.1", company_id=company)
    await node.call("2.2", company_id=company)
    token = service.token("user", company_id=company)
    async with await Stream.open(service.url, token) as first:
        await first.until(lambda s: list(s.states.values()) == ["answered"] * 2)
        await agrees(service, first, token)
    await node.say("hold", "1.1", company_id=company)
    await node.call("3.3", company_id=company)
    async with await Stream.open(
        service.url, token, dashboard=first.dashboard,
        query={"last_event_id": first.dashboard.last_id} if way == "query" else None,
        headers={"Last-Event-ID": first.dashboard.last_id} if way == "header" else None,
    ) as second:  # fmt: skip
        await second.until(lambda s: len(s.dashboard.calls) == 3)
        await agrees(service, second, token)
        assert not second.named("snapshot")
        records = [call for diff in second.named("diff") for call in diff["calls"].values()]
        assert {call.get("state") for call in records} >= {"held"}
        assert len({key for diff in second.named("diff") for key in diff["calls"]}) == 2


async def test_the_header_wins_over_the_query(service: Instance, node: Node, company: str) -> None:
    await node.call("1.1", company_id=company)
    token = service.token("user", company_id=company)
    async with await Stream.open(service.url, token) as first:
        await first.until(lambda s: "answered" in s.states.values())
        position = first.dashboard.last_id
    async with await Stream.open(
        service.url, token, query={"last_event_id": "nonsense"},
        headers={"Last-Event-ID": position}, dashboard=first.dashboard,
    ) as second:  # fmt: skip
        await second.until(lambda s: s.named("heartbeat"))
        assert not second.named("snapshot")


async def test_an_id_of_another_scope_is_worth_nothing(
    service: Instance, node: Node, company: str
) -> None:
    await node.call("1.1", company_id=company)
    async with await Stream.open(service.url, service.token()) as everything:
        await everything.until(lambda s: s.dashboard.calls)
    token = service.token("user", company_id=company)
    async with await Stream.open(
        service.url, token, headers={"Last-Event-ID": everything.dashboard.last_id}
    ) as own:
        await own.until(lambda s: s.named("snapshot"))
        assert len(own.dashboard.calls) == 1


async def test_filters_narrow(service: Instance, node: Node, company: str) -> None:
    await node.call("1.1", "ringing", company_id=company, trunk="gw-a")
    await node.call("2.2", "answered", company_id=company, trunk="gw-a")
    await node.call("3.3", "answered", company_id=company, trunk="gw-b")
    token = service.token()
    for query, expected in (
        ({"company_id": company}, 3),
        ({"company_id": company, "state": "answered"}, 2),
        ({"company_id": company, "state": "answered,ringing", "trunk": "gw-a"}, 2),
        ({"company_id": company, "trunk": "gw-c"}, 0),
    ):
        async with await Stream.open(service.url, token, query=query) as stream:
            await stream.until(lambda s: s.named("heartbeat"))
            # The service may not have folded all three yet.
            await stream.until(lambda s, most=expected: len(s.dashboard.calls) == most)  # type: ignore[misc]
            await agrees(service, stream, token, query)


async def test_a_call_that_leaves_a_filter_leaves_its_stream(
    service: Instance, node: Node, company: str
) -> None:
    await node.call("1.1", "answered", company_id=company)
    query = {"company_id": company, "state": "answered"}
    async with await Stream.open(service.url, service.token(), query=query) as stream:
        await stream.until(lambda s: len(s.dashboard.calls) == 1)
        await node.say("hold", "1.1", company_id=company)
        await stream.until(lambda s: not s.dashboard.calls)
        await node.say("resume", "1.1", company_id=company)
        await stream.until(lambda s: len(s.dashboard.calls) == 1)
        await agrees(service, stream, service.token(), query)


async def test_a_user_cannot_ask_for_another_company(
    service: Instance, node: Node, company: str
) -> None:
    await node.call("1.1", company_id=company)
    await node.call("2.2", company_id="somebody-else")
    token = service.token("user", company_id=company)
    await until_folded(service, token, ["answered"])
    query = {"company_id": "somebody-else"}
    async with await Stream.open(service.url, token, query=query) as stream:
        await stream.until(lambda s: s.named("heartbeat"))
        assert set(stream.states) == {f"1.1@{node.name}"}


async def test_a_call_that_moves_is_removed_here_without_a_reason_and_added_there(
    service: Instance, node: Node, company: str
) -> None:
    other = company + "-other"
    await node.call("1.1", company_id=company)
    mine, theirs = (service.token("user", company_id=one) for one in (company, other))
    async with (
        await Stream.open(service.url, mine) as here,
        await Stream.open(service.url, theirs) as there,
    ):
        await here.until(lambda s: s.dashboard.calls)
        await there.until(lambda s: s.named("heartbeat"))
        await node.say("transfer", "1.1", company_id=other)
        await here.until(lambda s: not s.dashboard.calls)
        await there.until(lambda s: s.dashboard.calls)
        assert "ended" not in here.named("diff")[-1]
        assert other.encode() not in here.raw
        await node.say("ended", "1.1", company_id=other, outcome="answered")
        await there.until(lambda s: not s.dashboard.calls)
        await agrees(service, here, mine)
        await agrees(service, there, theirs)


async def test_a_large_snapshot_comes_in_parts_and_only_the_last_has_the_id(
    service: Instance, node: Node, company: str
) -> None:
    for number in range(400):
        await node.client.publish(
            "call.events.setup",
            b'{"v":1,"phase":"setup","node":"%b","epoch":%d,"seq":%d,"ts":%d,"call_id":"c%d",'
            b'"dialog":"d%d","company_id":"%b","detail":"%b"}'
            % (node.name.encode(), node.epoch, number + 1, node.epoch, number, number,
               company.encode(), b"x" * 200),
        )  # fmt: skip
    node.seq = 400
    await node.client.flush()
    token = service.token("user", company_id=company)
    await until_folded(service, token, ["trying"] * 400)
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.dashboard.complete)
        parts = [event for event in stream.events if event.name == "snapshot"]
        assert len(parts) > 1
        assert [bool(event.id) for event in parts] == [False] * (len(parts) - 1) + [True]
        assert len(stream.dashboard.calls) == 400
        await agrees(service, stream, token)


async def test_hundred_clients_that_join_under_load_all_agree(
    service: Instance, node: Node, company: str
) -> None:
    token = service.token("user", company_id=company)
    stop = asyncio.Event()

    async def talk() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            await node.call(f"{number}.{number}", company_id=company)
            if number % 2:
                await node.say("ended", f"{number - 1}.{number - 1}", company_id=company)

    talking = asyncio.create_task(talk())
    streams = []
    for number in range(100):
        login = service.token("user", company_id=company, subject=f"wall-{number}")
        streams.append(await Stream.open(service.url, login))
        await asyncio.sleep(0.005)
    stop.set()
    await talking
    for stream in streams:
        await agrees(service, stream, token)
        await stream.close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", STREAM + "?state=zombie", {}, 400),
        ("GET", STREAM + "?trunk=" + "x" * 65, {}, 400),
        ("GET", STREAM + "?company_id=" + "x" * 65, {}, 400),
        ("GET", STREAM + "/no-such-key", {}, 404),
        ("GET", STREAM + "/..%2f..%2fetc", {}, 404),
        ("GET", "/nowhere", {}, 404),
        ("GET", "/static/../app.py", {}, 404),
        ("GET", "//evil.example/", {}, 404),
        ("PUT", "/live-calls", {}, 405),
        ("POST", "/api/v1/session", {"Content-Type": "text/plain"}, 415),
    ],
)
async def test_errors_are_problem_details(
    service: Instance, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(headers=bearer(service.token()) | headers) as client:
        answer = await client.request(method, service.url + path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body.keys() - {"kept_seconds"} == {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert body["detail"]


async def test_one_call_has_its_timeline(service: Instance, node: Node, company: str) -> None:
    await node.call("1.1", "held", company_id=company)
    await node.say("ended", "1.1", company_id=company, outcome="answered", by="callee")
    await node.call("2.2", "ringing", company_id=company)
    token = service.token("user", company_id=company)
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.states == {f"2.2@{node.name}": "ringing"})
        (key,) = stream.dashboard.calls
    async with httpx.AsyncClient() as client:
        path = f"{service.url}{STREAM}/{key}"
        body = (await client.get(path, headers=bearer(token))).json()
        assert [entry["phase"] for entry in body["timeline"]] == ["setup", "ringing"]
        stranger = service.token("user", company_id="stranger")
        refused = await client.get(path, headers=bearer(stranger))
        assert refused.status_code == 404
        missing = await client.get(f"{service.url}{STREAM}/AAAA", headers=bearer(stranger))
        assert refused.content == missing.content  # the answer does not reveal that it exists


async def test_the_page_has_a_strict_policy(service: Instance) -> None:
    async with httpx.AsyncClient() as client:
        for path in ("/live-calls", "/login"):
            answer = await client.get(service.url + path)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "require-trusted-types-for 'script'" in policy
            assert b"<style" not in answer.content
            assert b"style=" not in answer.content
            assert not re.search(rb"<script(?![^>]*\bsrc=)", answer.content)
