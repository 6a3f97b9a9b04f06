"""Which alarms are raised, and those of the last 24 hours: one board for all pages.

:class:`~api.panels.alarm_watch.AlarmWatch` gives each reading to :meth:`Board.update` and calls
:meth:`Board.finish` after a round. An alarm is raised once a figure has been past a limit for the
rule's ``raise_ms``, and is over once it has been good for its ``clear_ms``: so a figure that swings
around a limit raises one alarm, not twenty. A figure that is no longer measured keeps its alarm for
a quarter of an hour: a night without calls is no recovery.

Bounded: :data:`MOST_OF_ALL` alarms of all calls, :data:`MOST_OF_COMPANY` of each company. Where all
of them are raised, a further one is not, and ``overlooked`` counts it. Names of trunks and nodes
may be made up, so a rule of those has :data:`MOST_OF_RULE` raised alarms (of a company
:data:`MOST_OF_COMPANYS_RULE`): the others keep their room. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from livestate.state.alarms.alarm import Alarm, Why, id_of
from livestate.state.alarms.readings import Key
from livestate.state.alarms.rules import DEFAULTS, FEED, FIGURES, Reading, Rule, Rules, worse
from livestate.state.kpi.trunk_alarms import LEVELS, Level

MOST_OF_ALL: Final = 500
MOST_OF_COMPANY: Final = 50
MOST_OF_RULE: Final = 80
MOST_OF_COMPANYS_RULE: Final = 20
MOST: Final = 5_000  # of all calls and of all companies together
KEPT_MS: Final = 86_400_000
UNMEASURED_MS: Final = 900_000

What: TypeAlias = Literal["raised", "level", "cleared", "acknowledged"]


class Change(NamedTuple):
    """What happened to an alarm, and the alarm as it was then."""

    what: What
    alarm: Alarm


class _Tracker:
    """One figure that is or was past a limit: for each level, since when it is past its limit or
    good again."""

    __slots__ = ("alarm", "good_since", "measured_at", "on", "overlooked", "past_since")

    def __init__(self) -> None:
        self.past_since: list[int | None] = [None] * len(LEVELS)
        self.good_since: list[int | None] = [None] * len(LEVELS)
        self.on = [False] * len(LEVELS)
        self.measured_at = 0
        self.alarm: Alarm | None = None
        self.overlooked = False  # there was no room to raise it

    def see(self, level: Level, rule: Rule, now: int) -> Level:
        """The level to show: the highest that has lasted and is not over yet."""
        self.measured_at = now
        for place in range(1, len(LEVELS)):
            past = LEVELS.index(level) >= place
            begun, over = (
                (self.past_since, self.good_since) if past else (self.good_since, self.past_since)
            )
            over[place] = None
            since = begun[place]
            if since is None:
                since = begun[place] = now
            if now - since >= (rule.raise_ms if past else rule.clear_ms):
                self.on[place] = past
        return max(
            (one for one, on in zip(LEVELS, self.on, strict=True) if on),
            key=LEVELS.index,
            default="",
        )


class Board:
    """``rules`` may be replaced at any time."""

    def __init__(self, rules: Rules = DEFAULTS) -> None:
        self.rules = rules
        self.overlooked = 0
        self.changed_at: dict[str | None, int] = {}  # scope → the last change of its alarms
        self._alarms: dict[str | None, dict[str, Alarm]] = {}
        self._trackers: dict[Key, _Tracker] = {}
        self._changes: list[Change] = []
        self._count = 0

    # -- judging -----------------------------------------------------------------------------

    def update(self, key: Key, reading: Reading, now: int) -> None:
        """A figure was read."""
        tracker = self._trackers.get(key)
        if tracker is None:
            if not reading.level or len(self._trackers) >= MOST:
                return
            tracker = self._trackers[key] = _Tracker()
        shown = tracker.see(reading.level, self.rules[key.rule], now)
        alarm = tracker.alarm
        if alarm is None:
            if shown:
                tracker.alarm = self._raise(key, shown, reading, now)
                self.overlooked += tracker.alarm is None and not tracker.overlooked
                tracker.overlooked = tracker.alarm is None
            elif not reading.level:
                del self._trackers[key]
            return
        if not shown:
            self._clear(alarm, "recovered", now)
            del self._trackers[key]
            return
        alarm.value = reading.value
        if reading.level:
            alarm.limit = reading.limit
            sign = -1 if self.rules[key.rule].low_is_bad else 1
            if reading.bad > sign * alarm.peak:
                alarm.peak = reading.value
        if shown != alarm.level:
            self._change_level(alarm, shown, now)

    def finish(self, now: int, *, blind: bool) -> None:
        """A round is over. ``blind``: the feed is stale, so only figures of the feed were read, and
        the others wait."""
        for key, tracker in tuple(self._trackers.items()):
            if not self.rules[key.rule].on:
                why: Why = "rule"
            elif blind and key.rule not in FEED:
                tracker.measured_at = now
                continue
            elif now - tracker.measured_at >= UNMEASURED_MS:
                why = "unmeasured"
            else:
                continue
            if tracker.alarm is not None:
                self._clear(tracker.alarm, why, now)
            del self._trackers[key]
        for alarms in tuple(self._alarms.values()):
            for alarm in tuple(alarms.values()):
                if alarm.cleared_at is not None and now - alarm.cleared_at >= KEPT_MS:
                    self._drop(alarm)

    def _raise(self, key: Key, level: Level, reading: Reading, now: int) -> Alarm | None:
        alarm = Alarm(
            id=id_of(key, now),
            rule=key.rule,
            company_id=key.company_id,
            subject=key.subject,
            level=level,
            worst=level,
            value=reading.value,
            peak=reading.value,
            limit=reading.limit,
            raised_at=now,
        )
        if self._is_crowded(key) or not self._make_room(key.company_id):
            return None
        self._keep(alarm)
        self._note("raised", alarm, now)
        return alarm

    def _change_level(self, alarm: Alarm, level: Level, now: int) -> None:
        """An alarm that gets worse than what was acknowledged is open again."""
        if worse(level, alarm.level):
            alarm.acknowledged_by = alarm.acknowledged_at = None
        if worse(level, alarm.worst):
            alarm.worst = level
        alarm.level = level
        self._note("level", alarm, now)

    def _clear(self, alarm: Alarm, why: Why, now: int) -> None:
        alarm.cleared_at, alarm.cleared_why = now, why
        self._note("cleared", alarm, now)

    def _note(self, what: What, alarm: Alarm, now: int) -> None:
        self._changes.append(Change(what, copy(alarm)))
        last = self.changed_at.get(alarm.company_id, 0)
        self.changed_at[alarm.company_id] = max(now, last + 1)

    # -- what operators do ---------------------------------------------------------------------

    def acknowledge(self, company_id: str | None, id: str, by: str, now: int) -> Alarm | None:
        """Note who acknowledged an alarm; the first one counts. None: there is no such alarm of
        this company (None: of all calls)."""
        alarm = self._alarms.get(company_id, {}).get(id)
        if alarm is None:
            return None
        if alarm.acknowledged_by is None:
            alarm.acknowledged_by, alarm.acknowledged_at = by, now
            self._note("acknowledged", alarm, now)
        return alarm

    # -- what is shown -------------------------------------------------------------------------

    def alarms(self, company_id: str | None) -> list[Alarm]:
        """Of all calls (None) or of one company: raised ones first, the worst and the latest of
        them first; then those that are over."""
        found = list(self._alarms.get(company_id, {}).values())
        found.sort(key=lambda one: (one.cleared_at or one.raised_at, one.id), reverse=True)
        found.sort(key=lambda one: (not one.raised, -LEVELS.index(one.level) * one.raised))
        return found

    def summary(self, company_id: str | None) -> dict[str, Any] | None:
        """How many are raised and not acknowledged, for the badge of every page, and the level and
        the limit of each figure that is past a limit, which colour its tile; None: there were no
        alarms lately."""
        if company_id not in self.changed_at:
            return None
        raised = [one for one in self._alarms.get(company_id, {}).values() if one.raised]
        return {
            "alarm": sum(one.level == "alarm" for one in raised),
            "warning": sum(one.level == "warning" for one in raised),
            "open": sum(one.acknowledged_by is None for one in raised),
            "figures": {one.rule: [one.level, one.limit] for one in raised if one.rule in FIGURES},
            "changed_at": self.changed_at[company_id],
        }

    def raised_by_rule(self) -> dict[tuple[str, Level], int]:
        """(rule, level) → raised alarms of all calls and of companies, zeros included."""
        found: dict[tuple[str, Level], int] = {
            (rule, level): 0 for rule in DEFAULTS for level in LEVELS[1:]
        }
        for alarm in self.everything():
            if alarm.raised:
                found[alarm.rule, alarm.level] += 1
        return found

    def everything(self) -> Iterator[Alarm]:
        """The alarms of all scopes."""
        for alarms in self._alarms.values():
            yield from alarms.values()

    def take_changes(self) -> list[Change]:
        """What has happened since the last time, oldest first."""
        changes, self._changes = self._changes, []
        return changes

    # -- kept across a restart: livestate/store/alarms.py --------------------------------------

    def restore(self, alarms: Iterable[Alarm], now: int) -> None:
        """Put back the alarms of before a restart. Those that are raised stay so, without being
        raised a second time, until their figures are good or unmeasured for long enough."""
        for alarm in sorted(alarms, key=lambda one: one.raised_at):
            known = alarm.raised and alarm.key in self._trackers  # raised anew meanwhile
            if known or not self._make_room(alarm.company_id):
                continue
            self._keep(alarm)
            changed = max(alarm.raised_at, alarm.cleared_at or 0, alarm.acknowledged_at or 0)
            last = self.changed_at.get(alarm.company_id, 0)
            self.changed_at[alarm.company_id] = max(last, changed)
            if alarm.raised:
                tracker = self._trackers[alarm.key] = _Tracker()
                tracker.alarm, tracker.measured_at = alarm, now
                for place in range(1, LEVELS.index(alarm.level) + 1):
                    tracker.on[place] = True

    def replace(self, alarms: Iterable[Alarm], now: int) -> None:
        """Show the alarms of the instance that judges: this one is a standby."""
        self._alarms, self._trackers, self._count, self.changed_at = {}, {}, 0, {}
        self._changes = []
        self.restore(alarms, now)

    def _keep(self, alarm: Alarm) -> None:
        alarms = self._alarms.setdefault(alarm.company_id, {})
        self._count += alarm.id not in alarms
        alarms[alarm.id] = alarm

    def _drop(self, alarm: Alarm) -> None:
        alarms = self._alarms[alarm.company_id]
        del alarms[alarm.id]
        self._count -= 1
        if not alarms:
            del self._alarms[alarm.company_id]
            self.changed_at.pop(alarm.company_id, None)

    def _is_crowded(self, key: Key) -> bool:
        alarms = self._alarms.get(key.company_id, {}).values()
        most = MOST_OF_RULE if key.company_id is None else MOST_OF_COMPANYS_RULE
        return bool(key.subject) and (
            sum(one.rule == key.rule and one.raised for one in alarms) >= most
        )

    def _make_room(self, company_id: str | None) -> bool:
        """Forget the alarm of this scope that has been over for longest if there are too many."""
        alarms = self._alarms.get(company_id, {})
        most = MOST_OF_ALL if company_id is None else MOST_OF_COMPANY
        if len(alarms) < most and self._count < MOST:
            return True
        over = [one for one in alarms.values() if one.cleared_at is not None]
        if not over:
            return False
        self._drop(min(over, key=lambda one: one.cleared_at or 0))
        return True
