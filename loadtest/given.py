"""A load test of a service that runs already: ``livestate loadtest --url … --url …``.

The load test connects users to the given URLs. With the address of the service's NATS it also
publishes calls, of nodes of its own (``load-1``, ``load-2``), and ends them afterwards. It starts
and stops none of the servers, so it judges only what a client can see.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from livestate.client.paths import STREAM_PATH
from loadtest import children, event_trace, machine
from loadtest.children import PUBLISHED, NotRun, Process
from loadtest.logins import Listed, Login, Logins, Minted
from loadtest.measuring import concluded, counted, prepared, sampled
from loadtest.outcome import Outcome
from loadtest.profiles import Profile
from loadtest.world import counters

SEEN_SECONDS: Final = 60.0  # until published calls must be seen at every URL
_UNOWNED: Final = "measured by the operating system, where the service's processes run"


@dataclass(frozen=True, slots=True)
class Given:
    """Where the service is. ``urls`` of its edges, or of one process; ``admin_urls`` of all its
    processes, if they can be reached. Logins come from the file ``tokens``, or are signed with the
    demo key in ``keys``. ``nats``: where calls are published, with the credentials file ``creds``;
    None: the service is only watched."""

    urls: tuple[str, ...]
    keys: Path
    tokens: Path | None = None
    admin_urls: tuple[str, ...] = ()
    nats: str | None = None
    creds: str | None = None

    def logins(self, profile: Profile) -> Logins:
        """Raises ValueError if the file of tokens is wrong."""
        if self.tokens is not None:
            return Listed(self.tokens)
        return Minted(self.keys, profile.companies)

    def not_judged(self, profile: Profile) -> dict[str, str]:
        """The objectives of the profile that cannot be measured, each with the reason."""
        why = {"redis": "the load test does not read the service's Redis"}
        why |= dict.fromkeys(("memory growth", "descriptor growth"), _UNOWNED)
        if not self.admin_urls:
            why["service cpu"] = "no --admin-url"
        if self.nats is None:
            timed = [name for name in profile.objectives if name.startswith("receive ")]
            why |= dict.fromkeys(timed, "only events of the load test carry their time: --nats-url")
        return {name: it for name, it in why.items() if name in profile.objectives}


async def run(
    profile: Profile, out: Path, given: Given, say: Callable[[str], None] = print
) -> Outcome:
    """One run against a service that is there, with its reports in the directory ``out``. Raises
    NotRun if the service cannot be reached, refuses the logins, or gets no events."""
    out = prepared(out)
    if profile.shape == "steps" and given.nats is None:
        raise NotRun(f"{profile.name} looks for a latency, which needs events: --nats-url")
    profile, not_judged, options = _fitted(profile, given)
    logins = given.logins(profile)
    kinds = [kind for kind, number in profile.mix.items() if number]
    probe = logins.of("user" if kinds == ["CompanyDashboard"] else "noc", 0)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient())
        await _reachable(client, given, probe)
        before = await _counted(given)
        if given.nats is not None:
            # The service still knows the calls of an earlier run: these must be other ones.
            more = ["--no-cdrs", "--seed", str(time.time_ns())]
            more += ["--creds", given.creds] if given.creds else []
            publishing = children.publisher(profile, out, given.nats, *more)
            publisher = await stack.enter_async_context(publishing)
            await _seen(client, given, probe, out, publisher)
        what = "watched only" if given.nats is None else f"{profile.rate:g} events/s"
        say(f"{', '.join(given.urls)}; {profile.users} users, {what}")
        locust = await stack.enter_async_context(
            children.locust(
                profile, out, ",".join(given.urls), ",".join(given.admin_urls), *options
            )
        )
        samples = await sampled(lambda: machine.sample(()), locust)
        result = children.loader_report(out)
        after = await _counted(given)
    published: dict[str, Any] | None = None
    if given.nats is not None:
        published = json.loads((out / PUBLISHED).read_text())
    result |= {
        "published": published,
        "service": counted(before, after) if before else {},
        "edges": len(given.urls),
        "redis": [],
        "not judged": not_judged,
        "where": "the loader; the service was there already",
    }
    return concluded(profile, result, samples, 0, out)


def _fitted(profile: Profile, given: Given) -> tuple[Profile, dict[str, str], list[str]]:
    """The profile with the users and objectives that are possible here; which objectives are left
    out and why; options for Locust."""
    not_judged = given.not_judged(profile)
    fitted = replace(profile.without(not_judged), settle_seconds=0.0, plateau_seconds=0.0)
    options = ["--shared", "--keys", str(given.keys)]
    logins = given.logins(profile)
    if isinstance(logins, Listed):
        assert given.tokens is not None
        options += ["--tokens", str(given.tokens.resolve())]
        fitted = replace(fitted, mix=logins.mix(profile.mix))
        if not sum(fitted.mix.values()):
            raise NotRun(f"{profile.name} has no users for the logins in {given.tokens}")
    return fitted, not_judged, options


async def _reachable(client: httpx.AsyncClient, given: Given, probe: Login) -> None:
    """Raises NotRun, which names the URL and what is wrong with it."""
    for url in given.urls:
        calls = await _snapshot(client, url, probe)
        if given.nats is not None and any(map(event_trace.ours, calls.values())):
            raise NotRun(
                f"{url} shows calls of the nodes {event_trace.NODES}-…: another load test runs, or "
                f"one was cut off; such calls end as lost within minutes"
            )


async def _snapshot(client: httpx.AsyncClient, url: str, login: Login) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {login.token}"}
    try:
        answer = await client.get(f"{url}{STREAM_PATH}/snapshot", headers=headers)
    except httpx.HTTPError as error:
        raise NotRun(f"{url} cannot be reached: {error}") from error
    if answer.status_code in (401, 403):
        raise NotRun(
            f"{url} answers {answer.status_code} to the login: give --tokens, or in --keys the "
            "demo key whose public half the service has as LIVESTATE_JWT_JWKS"
        )
    if answer.status_code != 200:
        raise NotRun(f"{url} answers {answer.status_code}; `livestate doctor` beside it says why")
    calls: dict[str, Any] = answer.json()["calls"]
    return calls


async def _seen(
    client: httpx.AsyncClient, given: Given, probe: Login, out: Path, publisher: Process
) -> None:
    """Wait until every URL shows calls that are published."""
    deadline = time.monotonic() + SEEN_SECONDS
    report = out / PUBLISHED
    for url in given.urls:
        while True:
            if publisher.returncode is not None:
                log = out / "publisher.log"
                said = log.read_text(errors="replace").strip().rpartition("\n")[2]
                raise NotRun(f"nothing can be published: {said}; see {log}")
            shown = sum(map(event_trace.ours, (await _snapshot(client, url, probe)).values()))
            live = json.loads(report.read_text())["live"] if report.exists() else 0
            if shown > (0 if probe.company_id else 0.8 * live) and live:
                break
            if time.monotonic() > deadline:
                raise NotRun(
                    f"{url} shows {shown} of {live} calls that were published {SEEN_SECONDS:g} s "
                    "ago: is this the NATS of the service, and may this user publish call.events.>?"
                )
            await asyncio.sleep(0.2)


async def _counted(given: Given) -> dict[str, float]:
    try:
        return await counters(given.admin_urls)
    except httpx.HTTPError as error:
        raise NotRun(f"no metrics at {', '.join(given.admin_urls)}: {error}") from error
