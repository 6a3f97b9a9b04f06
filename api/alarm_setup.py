"""Makes what watches the figures of a service, whether a page is open or not: its alarms, the
minutes of its charts, and the countries that companies call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from redis.asyncio import Redis

from api.panels.alarm_file import AlarmFile
from api.panels.alarm_watch import AlarmWatch
from api.panels.alarm_webhook import Webhook
from api.panels.country_watch import CountryWatch
from api.panels.numbering import Numbering
from api.panels.trunk_file import TrunkFile
from api.settings import Settings
from livestate.fanout.hub import Hub
from livestate.process.clock import steady_ms
from livestate.state.active_calls import ActiveCalls
from livestate.state.alarms.board import Board
from livestate.state.alarms.readings import Readings
from livestate.state.alarms.rules import Rules, trunk_limits
from livestate.state.kpi.countries import Countries
from livestate.state.kpi.hints import parse
from livestate.state.kpi.history import History
from livestate.state.kpi.kpis import Kpis
from livestate.state.nodes.registry import Nodes
from livestate.store.alarms import KeptAlarms
from livestate.store.countries import KeptCountries
from livestate.store.history import KeptHistory
from livestate.store.keys import Keys
from livestate.store.projection import Projection


class Parts(Protocol):
    """What alarms need of a service; :class:`api.service.Service` has them."""

    settings: Settings
    table: ActiveCalls
    numbering: Numbering
    hub: Hub
    projection: Projection
    kpis: Kpis
    nodes: Nodes
    trunk_file: TrunkFile


def make_alarms(
    live: Parts, board: Board, redis: Redis, keys: Keys, *, ready: Callable[[], bool]
) -> AlarmWatch:
    """``ready()``: whether the service has calls to judge by."""

    def changed(rules: Rules) -> None:
        board.rules, live.kpis.trunk_limits = rules, trunk_limits(rules)

    return AlarmWatch(
        board,
        Readings(live.kpis, live.nodes),
        KeptAlarms(redis, board, keys),
        AlarmFile(live.settings.alarms, changed),
        live.trunk_file,
        source=lambda: live.hub.source,
        writes=lambda: live.projection.claim.writes,
        ready=ready,
        webhook=_webhook(live.settings),
        clock=steady_ms,
    )


def make_history(
    live: Parts, redis: Redis, keys: Keys, *, ready: Callable[[], bool]
) -> KeptHistory:
    """The minutes of the charts, with the same arguments."""
    return KeptHistory(
        redis,
        History(),
        live.kpis,
        keys=keys,
        clock=steady_ms,
        writes=lambda: live.projection.claim.writes,
        ready=ready,
        stale_since=lambda: live.hub.source.stale_since,
    )


def make_countries(live: Parts, redis: Redis, keys: Keys) -> CountryWatch:
    """The countries that companies call."""
    countries = Countries()
    return CountryWatch(
        live.table,
        live.numbering,
        KeptCountries(redis, countries, keys),
        countries,
        on=parse(live.settings.hints).new_country > 0,
        writes=lambda: live.projection.claim.writes,
        clock=steady_ms,
    )


def _webhook(settings: Settings) -> Webhook | None:
    url, secret = settings.alarm_webhook, settings.alarm_webhook_secret
    return Webhook(url, secret) if url is not None and secret is not None else None
