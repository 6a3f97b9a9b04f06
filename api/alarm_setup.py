"""Makes the alarms of a service from its settings and parts."""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis

from api.panels.alarm_file import AlarmFile
from api.panels.alarm_watch import AlarmWatch
from api.panels.trunk_file import TrunkFile
from api.settings import Settings
from livestate.process.clock import steady_ms
from livestate.state.alarms.board import Board
from livestate.state.alarms.readings import Readings
from livestate.state.alarms.rules import Rules, trunk_limits
from livestate.state.kpi.kpis import Kpis
from livestate.state.nodes.registry import Nodes
from livestate.state.source import Source
from livestate.store.alarms import KeptAlarms
from livestate.store.keys import Keys


def make_alarms(
    settings: Settings,
    board: Board,
    redis: Redis,
    keys: Keys,
    kpis: Kpis,
    nodes: Nodes,
    trunks: TrunkFile,
    *,
    source: Callable[[], Source],
    writes: Callable[[], bool],
    ready: Callable[[], bool],
) -> AlarmWatch:
    """The arguments are those of :class:`~api.panels.alarm_watch.AlarmWatch`."""

    def changed(rules: Rules) -> None:
        board.rules, kpis.trunk_limits = rules, trunk_limits(rules)

    return AlarmWatch(
        board,
        Readings(kpis, nodes),
        KeptAlarms(redis, board, keys),
        AlarmFile(settings.alarms, changed),
        trunks,
        source=source,
        writes=writes,
        ready=ready,
        report=lambda changes: None,
        clock=steady_ms,
    )
