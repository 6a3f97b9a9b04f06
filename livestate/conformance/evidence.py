"""Collects what the checks judge: several streams at once, snapshots, and single requests.

A run takes ``seconds`` and a little more. Every request has a connection of its own, because a
proxy may treat the first request of a connection differently.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from livestate.client.paths import SNAPSHOT_PATH, STREAM_PATH
from livestate.conformance.observation import Observation

SESSION_PATH: Final = "/api/v1/session"
SNAPSHOT_EVERY_SECONDS: Final = 0.5
RESUME_SECONDS: Final = 15.0  # longer than two heartbeats
REQUEST_SECONDS: Final = 10.0
LAG_STEP_SECONDS: Final = 0.05
UNKNOWN_IDS: Final = ("0123456789abcdef-7", "no id at all", "x" * 300)


@dataclass(slots=True)
class Login:
    """A token, whose it is as the service says, and what its streams showed."""

    token: str
    who: dict[str, Any] = field(default_factory=dict)
    plain: Observation | None = None  # the whole run
    packed: Observation | None = None  # with gzip
    joined: Observation | None = None  # from the middle on
    other_company: Observation | None = None  # with a filter for a company that is not its own

    @property
    def long_streams(self) -> list[Observation]:
        return [one for one in (self.plain, self.packed, self.joined) if one is not None]

    @property
    def streams(self) -> list[Observation]:
        other = self.other_company
        return self.long_streams if other is None else [*self.long_streams, other]

    @property
    def company(self) -> str | None:
        return self.who.get("company_id")


@dataclass(slots=True)
class Evidence:
    """Everything that a run saw. ``lag_seconds``: how late this program's own loop was at worst."""

    url: str
    first: Login
    second: Login | None
    seconds: float
    unreachable: str | None = None
    resumed: dict[str, tuple[str, Observation]] = field(default_factory=dict)  # how → (from, it)
    unknown: list[tuple[str, Observation]] = field(default_factory=list)  # ids that fit nothing
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    lag_seconds: float = 0.0

    @property
    def logins(self) -> list[Login]:
        return [self.first] if self.second is None else [self.first, self.second]


def bearer(token: str | None, **headers: str) -> dict[str, str]:
    login = {} if token is None else {"Authorization": f"Bearer {token}"}
    return {"Accept-Encoding": "identity", "Accept": "text/event-stream"} | login | headers


async def collect(
    url: str, token: str, second: str | None, seconds: float, verify: Any = True
) -> Evidence:
    """Watch the service at ``url`` for ``seconds``. ``second`` is a token of one company."""
    other = None if second is None else Login(second)
    evidence = Evidence(url.rstrip("/"), Login(token), other, seconds)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(REQUEST_SECONDS, read=None)
    async with httpx.AsyncClient(limits=limits, timeout=timeout, verify=verify) as client:
        try:
            for login in evidence.logins:
                answer = await _ask(client, evidence, SESSION_PATH, login.token)
                login.who = answer.json() if answer.status_code == 200 else {}
        except (httpx.HTTPError, TimeoutError) as error:
            evidence.unreachable = f"{url}: {error or type(error).__name__}"
            return evidence
        except ValueError:
            evidence.unreachable = f"{url}{SESSION_PATH} answers without JSON: not this service"
            return evidence
        over = asyncio.Event()
        lag = asyncio.create_task(_measure_lag(evidence, over))
        watching = [_watch(client, evidence, login) for login in evidence.logins]
        await asyncio.gather(
            *watching, _resume(client, evidence), _single_requests(client, evidence)
        )
        over.set()
        await lag
    return evidence


async def _watch(client: httpx.AsyncClient, evidence: Evidence, login: Login) -> None:
    stream, seconds = evidence.url + STREAM_PATH, evidence.seconds
    login.plain = Observation(stream, bearer(login.token))
    login.packed = Observation(stream, bearer(login.token) | {"Accept-Encoding": "gzip"})
    login.joined = Observation(stream, bearer(login.token))
    half = seconds / 2
    await asyncio.gather(
        login.plain.read(client, _never, seconds),
        login.packed.read(client, _never, seconds),
        _later(half, login.joined.read(client, _never, half)),
        _other_company(client, evidence, login),
        _compare(client, evidence, login),
    )


async def _other_company(client: httpx.AsyncClient, evidence: Evidence, login: Login) -> None:
    if login.company is None:
        return
    login.other_company = Observation(
        evidence.url + STREAM_PATH, bearer(login.token), {"company_id": f"not-{login.company}"[:64]}
    )
    await login.other_company.read(client, _has_heartbeat, RESUME_SECONDS)


async def _compare(client: httpx.AsyncClient, evidence: Evidence, login: Login) -> None:
    """Hold JSON snapshots against the streams that are open."""
    until = time.monotonic() + evidence.seconds
    while time.monotonic() < until:
        await asyncio.sleep(SNAPSHOT_EVERY_SECONDS)
        try:
            answer = await _ask(client, evidence, SNAPSHOT_PATH, login.token)
            if answer.status_code == 200:
                snapshot = answer.json()
                for stream in (login.plain, login.packed, login.joined):
                    if stream is not None and stream.fold.complete and stream.ended is None:
                        stream.compare(snapshot)
        except (httpx.HTTPError, ValueError, KeyError, TimeoutError):
            continue  # the checks of single requests say it


async def _resume(client: httpx.AsyncClient, evidence: Evidence) -> None:
    """Leave a stream after its first heartbeat, come back by header and by query, and with ids
    that fit nothing."""
    stream, token = evidence.url + STREAM_PATH, evidence.first.token
    for how in ("header", "query"):
        before = Observation(stream, bearer(token))
        await before.read(client, _has_heartbeat, RESUME_SECONDS)
        position = before.fold.last_id
        if not position:
            continue
        await asyncio.sleep(min(1.0, evidence.seconds / 10))  # something may change meanwhile
        after = Observation(stream, bearer(token), fold=before.fold)
        if how == "header":
            after.headers = bearer(token, **{"Last-Event-ID": position})
        else:
            after.params = {"last_event_id": position}
        evidence.resumed[how] = (position, after)
        await after.read(client, _has_heartbeat, RESUME_SECONDS)
    for wrong in UNKNOWN_IDS:
        one = Observation(stream, bearer(token, **{"Last-Event-ID": wrong}))
        evidence.unknown.append((wrong, one))
        await one.read(client, lambda seen: bool(seen.events), RESUME_SECONDS)


async def _single_requests(client: httpx.AsyncClient, evidence: Evidence) -> None:
    token = evidence.first.token
    for name, method, path, login, headers in (
        ("no login", "GET", STREAM_PATH, None, {}),
        ("no login, JSON", "GET", SNAPSHOT_PATH, None, {"Accept": "application/json"}),
        ("invalid login", "GET", STREAM_PATH, "invalid", {}),
        ("head", "HEAD", STREAM_PATH, token, {}),
        ("not acceptable", "GET", STREAM_PATH, token, {"Accept": "application/json"}),
        ("parameters", "HEAD", STREAM_PATH, token, {"Accept": "text/html,text/event-stream;q=0.5"}),
        ("method", "POST", STREAM_PATH, token, {}),
        ("unknown filter", "GET", f"{STREAM_PATH}?state=no-such-state", token, {}),
        ("unknown call", "GET", f"{STREAM_PATH}/AAAAAAAAAAAAAAAA", token, {}),
        ("snapshot", "GET", SNAPSHOT_PATH, token, {"Accept": "application/json"}),
    ):
        try:
            evidence.answers[name] = await _ask(client, evidence, path, login, method, headers)
        except (httpx.HTTPError, TimeoutError):
            continue  # the check says that there is no answer


async def _ask(
    client: httpx.AsyncClient,
    evidence: Evidence,
    path: str,
    token: str | None,
    method: str = "GET",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    own = bearer(token) | {"Accept": "*/*"} | (headers or {})
    async with asyncio.timeout(REQUEST_SECONDS):
        request = client.build_request(method, evidence.url + path, headers=own)
        response = await client.send(request, stream=True)
        try:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                await response.aread()  # a stream would never end
            elif method == "HEAD":
                await response.aread()
        finally:
            await response.aclose()
        return response


async def _later(seconds: float, act: Any) -> None:
    await asyncio.sleep(seconds)
    await act


async def _measure_lag(evidence: Evidence, over: asyncio.Event) -> None:
    while not over.is_set():
        asleep = time.monotonic()
        await asyncio.sleep(LAG_STEP_SECONDS)
        lag = time.monotonic() - asleep - LAG_STEP_SECONDS
        evidence.lag_seconds = max(evidence.lag_seconds, lag)


def _never(_: Observation) -> bool:
    return False


def _has_heartbeat(seen: Observation) -> bool:
    return bool(seen.named("heartbeat"))
