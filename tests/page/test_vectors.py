"""What the page works out without a document, by vectors: in a real Chromium, and by our Python
where both sides know how. Vectors for one side only say what the page promises."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.async_api import Page, Route

from api.assets import ASSETS
from livestate.client import Parser
from livestate.state.access import Identity, scope_for
from tests.pages import a_test, browser, in_one_loop, page

__all__ = ["browser", "page"]

VECTORS = Path(__file__).parents[1] / "vectors"
LIBRARY = Path(__file__).parents[2] / "clients" / "js"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


CALLS = vectors("calls")


@a_test
async def modules(page: Page) -> Page:
    """A blank page beside the modules. There is no server: the test answers Chromium's requests."""

    async def give(route: Route) -> None:
        kind, _, name = urlsplit(route.request.url).path.strip("/").partition("/")
        if kind == "static":
            await route.fulfill(path=ASSETS[name], content_type="text/javascript")
        elif kind == "library":
            await route.fulfill(path=LIBRARY / name, content_type="text/javascript")
        elif kind == "stream":
            body = vectors("sse")[int(name)]["bytes"]
            await route.fulfill(body=body, content_type="text/event-stream; charset=utf-8")
        else:
            await route.fulfill(body="<!doctype html>", content_type="text/html")

    await page.route("**/*", give)
    await page.goto("http://127.0.0.1:1/")
    return page


@in_one_loop
async def test_the_page_has_a_text_for_each_name_of_the_contract(modules: Page) -> None:
    named, wanted = await modules.evaluate(
        """async () => {
            const { STATES } = await import("/static/table/filters.js");
            const texts = await import("/static/status/texts.js");
            const contract = await import("/static/client/contract.js");
            return [
                [STATES, texts.REASONS, texts.STALE_REASONS, texts.GOODBYES].map(Object.keys),
                [contract.LIVE_STATES, contract.CONNECTION_STATES, contract.STALE_REASONS,
                    contract.GOODBYE_REASONS],
            ];
        }"""
    )
    assert [sorted(names) for names in named] == [sorted(names) for names in wanted]


@in_one_loop
async def test_the_fold_of_the_page_is_the_fold_of_the_vectors(modules: Page) -> None:
    found = await modules.evaluate(
        """async (vectors) => {
            const { Fold } = await import("/static/client/fold.js");
            return vectors.map(({ frames }) => {
                const fold = new Fold();
                for (const [name, data, id] of frames) fold.apply(name, data, id ?? "");
                const calls = Object.fromEntries(fold.calls);
                const again = new Fold();  // what is kept on the way is that of a whole snapshot
                again.apply("snapshot", { part: 1, parts: 1, calls });
                const states = ({ states }) => [...states].filter(([, count]) => count > 0).sort();
                return { calls, digest: fold.digest, id: fold.id, states: states(fold),
                         whole: { digest: again.digest, states: states(again) } };
            });
        }""",
        vectors("fold"),
    )  # fmt: skip
    for vector, one in zip(vectors("fold"), found, strict=True):
        assert one["calls"] == vector["calls"], vector["name"]
        assert one["digest"] == one["whole"]["digest"] == vector["digest"], vector["name"]
        assert one["states"] == one["whole"]["states"], vector["name"]
        assert one["id"] == vector.get("id", ""), vector["name"]


@in_one_loop
async def test_the_client_library_does_what_its_vectors_say(modules: Page) -> None:
    """The same as ``clients/js/test/client.test.js`` does in Node.js, which CI may lack."""
    found = await modules.evaluate(
        """async (vectors) => {
            const { run } = await import("/library/test/driver.js");
            const { Parser } = await import("/library/src/livestate.js");
            const parsed = vectors.sse.map(({ bytes }) => {
                const parser = new Parser();
                return parser.feed(bytes.replace(/^\ufeff/, "")).map(Object.values);
            });
            return { ran: await Promise.all(vectors.client.map(run)), parsed };
        }""",
        {"client": vectors("client"), "sse": vectors("sse")},
    )
    for vector, one in zip(vectors("client"), found["ran"], strict=True):
        for number, least in enumerate(vector.get("waited_ms", [])):
            assert one["waits"][number] >= least, vector["name"]
        for field in ("asked", "states", "calls", "id"):
            assert one[field] == vector[field], (vector["name"], field)
        assert one["left"] == vector.get("left", {}), vector["name"]
    for vector, events in zip(vectors("sse"), found["parsed"], strict=True):
        assert events == vector["events"], vector["name"]


@in_one_loop
async def test_a_browsers_own_parser_reads_a_stream_as_ours_does(modules: Page) -> None:
    names = sorted({name for one in vectors("sse") for name, *_ in one["events"]})
    found = await modules.evaluate(
        """([count, names]) => Promise.all([...Array(count).keys()].map((number) =>
          new Promise((done) => {
            const source = new EventSource(`/stream/${number}`);
            const events = [];
            for (const name of names) {
                source.addEventListener(name, (event) => {
                    events.push([name, event.data, event.lastEventId]);
                });
            }
            source.addEventListener("error", () => { source.close(); done(events); });
        })))""",
        [len(vectors("sse")), names],
    )  # fmt: skip
    for vector, events in zip(vectors("sse"), found, strict=True):
        assert events == vector["events"], vector["name"]


@pytest.mark.parametrize("vector", vectors("sse"), ids=lambda vector: vector["name"])
def test_our_parser_reads_a_stream_as_a_browser_does(vector: dict[str, Any]) -> None:
    found = [[one.name, one.data.decode(), one.id]
             for one in Parser().feed(vector["bytes"].encode())]  # fmt: skip
    assert found == vector["events"]


@in_one_loop
async def test_the_page_admits_what_its_filters_say(modules: Page) -> None:
    found = await modules.evaluate(
        """async ([vectors, calls]) => {
            const { Filters } = await import("/static/table/filters.js");
            return vectors.map(({ query, now }) => {
                const filters = new Filters(query);
                const again = new Filters(new URLSearchParams(filters.pairs()).toString());
                const admits = (some) => Object.keys(calls).filter(
                    (key) => some.admits(key, calls[key], now));
                return { admits: admits(filters), again: admits(again), asks: filters.onServer() };
            });
        }""",
        [vectors("filters"), CALLS],
    )  # fmt: skip
    for vector, one in zip(vectors("filters"), found, strict=True):
        assert one["admits"] == one["again"] == vector["admits"], vector["name"]
        assert bool(one["asks"]) == vector.get("server", False), vector["name"]


@in_one_loop
async def test_any_names_are_the_same_ones_after_the_address(modules: Page) -> None:
    """Commas and backslashes too; one of an address of before is read as it was."""
    given = [
        "a",
        "Rossi, Sons",
        ",",
        "\\",
        "\\\\",
        "a\\,b",
        "a\\b",
        "\\a,",
        "a\\\\b,\\",
        "a,b\\\\,",
    ]
    found = await modules.evaluate(
        """async (given) => {
            const { valuesIn, written } = await import("/static/table/values.js");
            return [given.flatMap((one) => valuesIn(written(one))),
                valuesIn(given.map(written).join(",")), valuesIn("a\\\\b,c")];
        }""",
        given,
    )
    assert found == [given, given, ["a\\b", "c"]]


@in_one_loop
async def test_the_search_box_reads_its_syntax(modules: Page) -> None:
    given = vectors("search")
    found = await modules.evaluate(
        """async ({ calls, now, searches }) => {
            const { read } = await import("/static/table/search.js");
            const { STATES } = await import("/static/table/filters.js");
            const { t } = await import("/static/text/catalogue.js");
            return searches.map(({ search }) => {
                const { admits, errors } = read(search, STATES);
                return { admits: Object.keys(calls).filter((key) => admits(key, calls[key], now)),
                         errors: errors.map(([key]) => key),
                         texts: errors.every(([key]) => t(key) !== key) };
            });
        }""",
        given,
    )  # fmt: skip
    for vector, one in zip(given["searches"], found, strict=True):
        assert one["admits"] == vector["admits"], vector["name"]
        assert one["errors"] == vector.get("errors", []), vector["name"]
        assert one["texts"], vector["name"]


@pytest.mark.parametrize(
    "vector", [one for one in vectors("filters") if "server" in one], ids=lambda one: one["name"]
)
def test_the_server_admits_what_the_page_does(vector: dict[str, Any]) -> None:
    asked: dict[str, list[str]] = {}
    for field, value in parse_qsl(vector["query"]):
        asked.setdefault(field, []).extend(value.split(","))
    noc = Identity(subject="", role="noc", company_id=None, expires_at=0.0)
    scope = scope_for(noc, company_id=asked.get("company_id", [None])[0],
                      states=asked.get("state", []), trunks=asked.get("trunk", []))  # fmt: skip
    blank = {"company_id": None, "trunk": None}
    admitted = [key for key, call in CALLS.items() if scope.admits(SimpleNamespace(**blank | call))]
    assert admitted == vector["admits"]


@in_one_loop
async def test_rows_are_in_order_however_they_came(modules: Page) -> None:
    """Placed one by one, moved from elsewhere, beside others that go again: as sorted at once."""
    found = await modules.evaluate(
        """async (vectors) => {
            const { COLUMNS } = await import("/static/table/columns.js");
            const { anomalyOf, LIMITS } = await import("/static/table/anomalies.js");
            const { Order } = await import("/static/table/order.js");
            return vectors.map(({ by, up, anomaliesFirst, calls }) => {
                const all = Object.entries(calls).map(([key, record]) =>
                    [key, record, anomaliesFirst && anomalyOf(record, 0, LIMITS) ? 0 : 1]);
                const keys = ({ rows }) => rows.map(({ key }) => key);
                const whole = new Order(COLUMNS[by].rank, up);
                whole.replace(all);
                const grown = new Order(COLUMNS[by].rank, up);
                for (const [key, record, odd] of all) {
                    grown.place(key, { company_id: "0", setup_at: 7 }, 1 - odd);
                    grown.place(`${key} goes`, record, odd);
                    if (grown.rows.length % 2) grown.rows;  // somebody looks
                    grown.place(key, record, odd);
                    grown.remove(`${key} goes`);
                }
                const places = keys(grown).map((key) => grown.index(key));
                return { whole: keys(whole), grown: keys(grown), places, size: grown.size };
            });
        }""",
        vectors("order"),
    )  # fmt: skip
    for vector, one in zip(vectors("order"), found, strict=True):
        assert one["whole"] == one["grown"] == vector["order"], vector["name"]
        assert one["places"] == list(range(one["size"])), vector["name"]


@in_one_loop
async def test_an_order_that_changes_ten_thousand_times_is_the_sorted_one(modules: Page) -> None:
    same = await modules.evaluate("""async () => {
        const { Order } = await import("/static/table/order.js");
        let seed = 1;  // mulberry32, so that a failure can be had again
        const chance = (below) => {
            seed = (seed + 0x6d2b79f5) | 0;
            let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
            t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
            return ((t ^ (t >>> 14)) >>> 0) % below;
        };
        const order = new Order((record) => record.from, true);
        const calls = new Map();
        for (let turn = 0; turn < 10_000; turn += 1) {
            const key = `k${chance(500)}`;
            if (chance(3) === 0) {
                calls.delete(key);
                order.remove(key);
            } else {
                const call = [key, { from: chance(40), setup_at: chance(9) }, chance(10) === 0];
                calls.set(key, call);
                order.place(...call);
            }
            if (turn % 97) continue;
            const again = new Order((record) => record.from, true);
            again.replace(calls.values());
            const keys = ({ rows }) => rows.map(({ key }) => key).join();
            if (keys(again) !== keys(order)) return turn;
        }
        return true;
    }""")
    assert same is True


@in_one_loop
async def test_an_unused_sort_order_keeps_no_ended_calls(modules: Page) -> None:
    """A tab that is not seen paints nothing, for days, while calls come, change and go."""
    kept = await modules.evaluate("""async () => {
        const { Order } = await import("/static/table/order.js");
        const order = new Order((record) => record.from, true);
        for (let turn = 0; turn < 50_000; turn += 1) {
            order.place(`k${turn}`, { from: turn }, false);
            order.place(`k${turn}`, { from: -turn }, false);
            if (turn >= 100) order.remove(`k${turn - 100}`);
        }
        return { held: order.merged.length + order.added.length, size: order.size };
    }""")
    assert kept["size"] == 100
    assert kept["held"] < 5_000


@in_one_loop
async def test_the_rest_is_as_the_vectors_say(modules: Page) -> None:
    found = await modules.evaluate(
        """async ([windows, odd, text]) => {
            const { inSight } = await import("/static/table/viewport.js");
            const { LIMITS, anomalyOf, reasons } = await import("/static/table/anomalies.js");
            const texts = await import("/static/text/text.js");
            return [
                windows.map(({ scrolled, seen, height, count }) =>
                    inSight(scrolled, seen, height, count)),
                odd.map(({ call, now }) =>
                    [reasons(call, now, LIMITS), anomalyOf(call, now, LIMITS) !== ""]),
                text.map(([name, value]) => texts[name](value)),
            ];
        }""",
        [vectors("window"), vectors("anomalies"), vectors("text")],
    )  # fmt: skip
    windows, odd, texts = found
    for vector, sight in zip(vectors("window"), windows, strict=True):
        assert sight == vector["sight"], vector["name"]
    for vector, (reasons, is_odd) in zip(vectors("anomalies"), odd, strict=True):
        assert reasons == vector["reasons"], vector["name"]
        assert is_odd == bool(vector["reasons"]), vector["name"]
    for (name, value, wanted), text in zip(vectors("text"), texts, strict=True):
        assert text == wanted, (name, value)
