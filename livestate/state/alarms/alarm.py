"""One alarm: since when, how bad, who acknowledged it; and as a plain record for Redis. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any, Final, Literal, TypeAlias, get_args

from livestate.state.alarms.readings import Key
from livestate.state.alarms.rules import DEFAULTS
from livestate.state.kpi.trunk_alarms import LEVELS, Level

# recovered: the figure was good for long enough. unmeasured: it was not measured for a quarter of
# an hour, for example because too few calls ended. rule: the rule was changed or switched off.
Why: TypeAlias = Literal["recovered", "unmeasured", "rule"]
MOST_NAME_CHARS: Final = 256


@dataclass(slots=True)
class Alarm:
    """Times are in ms. ``level`` is of now, or of the end; ``worst`` the highest that it had.
    ``peak`` is the worst value. ``limit`` is the limit that was passed; of a drop of the ASR, the
    ASR of the hour before."""

    id: str
    rule: str
    company_id: str | None
    subject: str
    level: Level
    worst: Level
    value: float
    peak: float
    limit: float | None
    raised_at: int
    cleared_at: int | None = None
    cleared_why: Why | None = None
    acknowledged_by: str | None = None
    acknowledged_at: int | None = None

    @property
    def key(self) -> Key:
        return Key(self.rule, self.company_id, self.subject)

    @property
    def raised(self) -> bool:
        return self.cleared_at is None

    def record(self) -> dict[str, Any]:
        """Its fields by name."""
        return asdict(self)


def id_of(key: Key, raised_at: int) -> str:
    """The id of an alarm tells nothing of other alarms: no running number."""
    text = "\0".join((key.rule, key.company_id or "", key.subject, str(raised_at)))
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def alarm_of(stored: object) -> Alarm | None:
    """The alarm of a stored record; None if it is unusable: it may have been edited."""
    if not isinstance(stored, dict) or {one.name for one in fields(Alarm)} != stored.keys():
        return None
    alarm = Alarm(**stored)
    texts = (alarm.id, alarm.subject, alarm.company_id or "", alarm.acknowledged_by or "")
    numbers = (alarm.value, alarm.peak, alarm.limit)
    times = (alarm.raised_at, alarm.cleared_at, alarm.acknowledged_at)
    good = (
        all(isinstance(text, str) and len(text) <= MOST_NAME_CHARS for text in texts)
        and alarm.rule in DEFAULTS
        and alarm.level in LEVELS[1:]
        and alarm.worst in LEVELS[1:]
        and all(one is None or type(one) in (int, float) for one in numbers)
        and None not in numbers[:2]
        and all(one is None or (type(one) is int and 0 <= one < 1 << 53) for one in times)
        and alarm.raised_at is not None
        and alarm.cleared_why in (None, *get_args(Why))
    )
    return alarm if good else None
