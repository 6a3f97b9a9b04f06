"""The entry point for Locust: ``locust -f loadtest/locustfile.py --host http://127.0.0.1:8080``.

Without further options it has Locust's web page and works with ``--processes``, and with a master
and workers. With ``--plan`` it follows a profile of ``slo.toml``, as ``livestate loadtest`` does.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent

sys.path.insert(
    0, str(Path(__file__).parent.parent)
)  # Locust sets sys.path to the locustfile's folder

from locust import events, runners
from locust.runners import MasterRunner, WorkerRunner

from loadtest import profiles, shapes
from loadtest.loader import loader
from loadtest.logins import Listed, Minted
from loadtest.metrics import Metrics, percentiles, save
from loadtest.users import (
    CompanyDashboard,
    Dashboard,
    FilteredDashboard,
    Flapper,
    Poller,
    SlowReader,
)

KINDS = (Dashboard, CompanyDashboard, FilteredDashboard, SlowReader, Flapper, Poller)
merged = Metrics()  # of all workers, or of this process
CLOCK_PROBES = 10
# Locust considers a worker lost after three silent seconds and starts its users elsewhere. A busy
# worker reports its own lag instead, which makes the run INVALID.
LIVENESS_SECONDS = 30


@events.init_command_line_parser.add_listener
def arguments(parser: Any) -> None:
    ours = parser.add_argument_group("livestate")
    ours.add_argument("--plan", default="", help=f"follow a profile: {', '.join(profiles.names())}")
    ours.add_argument("--keys", default=".livestate", help="directory of the demo key, for tokens")
    ours.add_argument("--tokens", default="", help="file of tokens, instead of the demo key")
    ours.add_argument("--shared", action="store_true", help="other traffic reaches the service too")
    ours.add_argument("--companies", type=int, default=20, help="how many companies: 101, 102, …")
    ours.add_argument("--ledger", default="", help="file for all metrics, as JSON")
    ours.add_argument("--quiet", default="", help="file to create when calls shall stop changing")
    ours.add_argument("--admin", default="", help="the service's admin addresses, to read its CPU")


@events.init.add_listener
def begin(environment: Any, **_: Any) -> None:
    options, runner = environment.parsed_options, environment.runner
    loader.logins = (
        Listed(Path(options.tokens))
        if options.tokens
        else Minted(Path(options.keys), options.companies)
    )
    loader.alone = not options.shared
    plan = None
    if options.plan:
        profile = profiles.profile(options.plan)
        for kind in KINDS:
            kind.weight = profile.mix.get(kind.__name__, 0)
        environment.user_classes = [kind for kind in KINDS if kind.weight]
        loader.ledger.measuring = False
        if not isinstance(runner, WorkerRunner):
            plan = shapes.Planned(
                profile,
                merged,
                Path(options.quiet) if options.quiet else None,
                options.admin or None,
            )
            plan.runner = runner
            environment.shape_class = plan
    if isinstance(runner, WorkerRunner):
        if options.processes:
            gevent.spawn(_end_with, os.getppid())
        events.report_to_master.add_listener(_report)
    elif isinstance(runner, MasterRunner):
        runners.HEARTBEAT_LIVENESS = LIVENESS_SECONDS
        events.worker_report.add_listener(_merge)
    else:
        gevent.spawn(_merge_here)
    if not isinstance(runner, MasterRunner):
        gevent.spawn(loader.pressure.watch)
        for name, listener in _MESSAGES.items():
            runner.register_message(name, listener, concurrent=True)
    if not isinstance(runner, WorkerRunner):
        events.quitting.add_listener(lambda **_: _end(plan, options.ledger))


@events.test_start.add_listener
def compare_clocks(environment: Any, **_: Any) -> None:
    """Measure the loader's clock against the service's ``as_of``, by the shortest round trip. A
    difference within the uncertainty of half a round trip is ignored."""
    if isinstance(environment.runner, MasterRunner):
        return
    client = environment.user_classes[0](environment)
    found = []
    for _probe in range(CLOCK_PROBES):
        began = time.time_ns() // 1000
        table = client.get("/snapshot")
        ended = time.time_ns() // 1000
        if table is not None:
            found.append((ended - began, (began + ended) // 2 - table["as_of"] * 1000 - 500))
    if found:
        round_trip, offset = min(found)
        certain = abs(offset) > round_trip // 2 + 1_000
        offset = offset if certain else 0
        # With a plan the publisher runs on this machine, and its clock is the loader's.
        loader.offset_us = 0 if environment.parsed_options.plan else offset
        loader.ledger.worst("clock offset µs", abs(offset))


def _end_with(parent: int) -> None:
    """End a forked worker with its parent; Locust would wait a minute."""
    while os.getppid() == parent:
        gevent.sleep(1)
    os._exit(1)


def _report(client_id: str, data: dict[str, Any], **_: Any) -> None:
    data["livestate"] = loader.ledger.take()


def _merge(client_id: str, data: dict[str, Any], **_: Any) -> None:
    if "livestate" in data:
        merged.merge(data["livestate"])


def _merge_here() -> None:
    while True:
        gevent.sleep(1)
        merged.merge(loader.ledger.take())


def _measure(**_: Any) -> None:
    loader.ledger.measuring = True


def _rest(**_: Any) -> None:
    loader.ledger.rest(time.time_ns() // 1000)


def _quiet(**_: Any) -> None:
    loader.ledger.rest(time.time_ns() // 1000)
    loader.quiet = True


_MESSAGES = {
    "measure": _measure,
    "rest": _rest,
    "quiet": _quiet,
    "storm": lambda **_: loader.storm(),
    "compare": lambda **_: loader.compare(),
}


def _end(plan: shapes.Planned | None, path: str) -> None:
    merged.merge(loader.ledger.take())
    if path:
        more: dict[str, Any] = (
            {}
            if plan is None
            else {
                "steps": plan.steps,
                "limited_by": plan.limited_by,
                "ending": plan.ending,
                "measured": plan.measured,
            }
        )
        save(merged, Path(path), **more)
    if plan is None:  # without a plan there is no verdict: print the metrics
        for name, one in sorted(merged.histograms.items()):
            cuts = percentiles(one)
            print(f"{name:24}", *(f"{k} {v:,.1f}" for k, v in cuts.items()))
        for name, number in sorted(merged.counts.items()):
            print(f"{name:34}{number:>12,}")
        print("\n".join(merged.complaints))
