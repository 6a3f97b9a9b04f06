"""For Locust itself: ``locust -f loadtest/locustfile.py --host http://127.0.0.1:8080``.

Plain, it has Locust's page, takes as many users as you type, and works with ``--processes`` and
with a master and workers. With ``--plan`` it follows a profile of ``slo.toml``; that is what
``livestate loadtest`` runs.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent

sys.path.insert(0, str(Path(__file__).parent.parent))  # locust gives a locustfile its own folder

from locust import events, runners
from locust.runners import MasterRunner, WorkerRunner

from loadtest import profiles, shapes
from loadtest.ledger import Ledger, percentiles, save
from loadtest.loader import loader
from loadtest.users import (
    CompanyDashboard,
    Dashboard,
    FilteredDashboard,
    Flapper,
    Poller,
    SlowReader,
)

KINDS = (Dashboard, CompanyDashboard, FilteredDashboard, SlowReader, Flapper, Poller)
merged = Ledger()  # of all workers; without workers, of this process
CLOCK_PROBES = 10
# Locust takes a worker that is silent for three seconds for lost, and its users are started once
# more elsewhere. One that is only busy says so itself: then the run is INVALID.
LIVENESS_SECONDS = 30


@events.init_command_line_parser.add_listener
def arguments(parser: Any) -> None:
    ours = parser.add_argument_group("livestate")
    ours.add_argument("--plan", default="",
                      help=f"follow a profile: {', '.join(profiles.names())}")  # fmt: skip
    ours.add_argument("--keys", default=".livestate", help="where the demo key is, for logins")
    ours.add_argument("--companies", type=int, default=20, help="101, 102 … so many of them")
    ours.add_argument("--ledger", default="", help="where to write all numbers, as JSON")
    ours.add_argument("--quiet", default="", help="file to make when the publisher shall rest")
    ours.add_argument("--admin", default="", help="the service's admin address, for its CPU")


@events.init.add_listener
def begin(environment: Any, **_: Any) -> None:
    told, runner = environment.parsed_options, environment.runner
    loader.keys, loader.companies = Path(told.keys), told.companies
    plan = None
    if told.plan:
        profile = profiles.profile(told.plan)
        for kind in KINDS:
            kind.weight = profile.mix.get(kind.__name__, 0)
        environment.user_classes = [kind for kind in KINDS if kind.weight]
        loader.ledger.measuring = False
        if not isinstance(runner, WorkerRunner):
            plan = shapes.Planned(profile, merged, Path(told.quiet) if told.quiet else None,
                           told.admin or None)  # fmt: skip
            plan.runner = runner
            environment.shape_class = plan
    if isinstance(runner, WorkerRunner):
        if told.processes:
            gevent.spawn(_end_with, os.getppid())
        events.report_to_master.add_listener(_report)
    elif isinstance(runner, MasterRunner):
        runners.HEARTBEAT_LIVENESS = LIVENESS_SECONDS
        events.worker_report.add_listener(_merge)
    else:
        gevent.spawn(_merge_here)
    if not isinstance(runner, MasterRunner):
        gevent.spawn(loader.pressure.watch)
        for name, listener in _SAID.items():
            runner.register_message(name, listener, concurrent=True)
    if not isinstance(runner, WorkerRunner):
        events.quitting.add_listener(lambda **_: _end(plan, told.ledger))


@events.test_start.add_listener
def compare_clocks(environment: Any, **_: Any) -> None:
    """How far our clock is from the service's, by its ``as_of`` and the shortest round trip. A
    difference within what a round trip leaves open is no difference."""
    if isinstance(environment.runner, MasterRunner):
        return
    somebody = FilteredDashboard(environment)
    found = []
    for _probe in range(CLOCK_PROBES):
        began = time.time_ns() // 1000
        table = somebody.get("/snapshot")
        ended = time.time_ns() // 1000
        if table is not None:
            found.append((ended - began, (began + ended) // 2 - table["as_of"] * 1000 - 500))
    if found:
        round_trip, offset = min(found)
        certain = abs(offset) > round_trip // 2 + 1_000
        loader.offset_us = offset if certain else 0
        loader.ledger.worst("clock offset µs", abs(loader.offset_us))


def _end_with(parent: int) -> None:
    """A worker that was forked is nothing without who forked it; Locust would wait a minute."""
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


_SAID = {
    "measure": _measure, "rest": _rest, "quiet": _quiet,
    "storm": lambda **_: loader.storm(), "compare": lambda **_: loader.compare(),
}  # fmt: skip


def _end(plan: shapes.Planned | None, path: str) -> None:
    merged.merge(loader.ledger.take())
    if path:
        told: dict[str, Any] = {} if plan is None else {
            "steps": plan.steps, "gave_up": plan.gave_up, "ending": plan.ending,
            "measured": plan.measured,
        }  # fmt: skip
        save(merged, Path(path), **told)
    if plan is None:  # nobody judges it: a person looks
        for name, one in sorted(merged.histograms.items()):
            cuts = percentiles(one)
            print(f"{name:24}", *(f"{k} {v:,.1f}" for k, v in cuts.items()))
        for name, number in sorted(merged.counts.items()):
            print(f"{name:34}{number:>12,}")
        print("\n".join(merged.complaints))
