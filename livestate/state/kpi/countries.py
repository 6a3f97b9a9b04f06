"""Which countries each company calls: is one of them new?

:mod:`api.panels.country_watch` notes the countries of calls in the background, because a panel that
is read now and then cannot know what was called before; :mod:`livestate.store.countries` keeps them
in Redis. A country is forgotten :data:`HISTORY_HOURS` after its last call. It is new to a company
for an hour or two after its first call, if the company itself was known for a day by then: without
history there is no hint. Calls without a company are those of the network.

Bounded: :data:`MOST` countries of all companies together, 10 MB. A company without room is not
known, so it gets no hint. Pure: ``now`` comes in, in ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeGuard

HOUR_MS: Final = 3_600_000
HISTORY_HOURS: Final = 7 * 24
COLD_HOURS: Final = 24
NEW_HOURS: Final = 1
MOST: Final = 100_000
NETWORK: Final = ""  # calls without a company; no company has an empty name
MAX_NAME: Final = 64
_SHIFT: Final = 32


class Countries:
    """Company → country → the hours of its first and its last call, in one integer."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, int]] = {}
        self._since: dict[str, int] = {}  # company → hour of its first call
        self._count = 0
        self._pruned = 0
        self.changed: set[str] = set()  # companies that are otherwise than they were stored

    def note(self, company: str | None, country: str, now: int) -> None:
        """A company (None: the network) calls a country."""
        name, hour = company or NETWORK, now // HOUR_MS
        seen = self._seen.get(name)
        known = seen.get(country) if seen is not None else None
        if known is not None:
            if known & 0xFFFFFFFF >= hour:
                return
            first = known >> _SHIFT
        else:
            if self._count >= MOST:
                return
            first = hour
            self._count += 1
            self._since.setdefault(name, hour)
        self._seen.setdefault(name, {})[country] = first << _SHIFT | hour
        self.changed.add(name)

    def is_new(self, company: str | None, country: str, now: int) -> bool:
        """Whether the company called the country for the first time within the last hour or two,
        and is known for long enough."""
        name, hour = company or NETWORK, now // HOUR_MS
        known = self._seen.get(name, {}).get(country)
        if known is None or known >> _SHIFT < hour - NEW_HOURS:
            return False
        return (known >> _SHIFT) - self._since[name] >= COLD_HOURS

    def prune(self, now: int) -> None:
        """Once an hour: forget countries without a call for a week, and companies without one."""
        hour = now // HOUR_MS
        if hour == self._pruned:
            return
        self._pruned = hour
        for name, seen in tuple(self._seen.items()):
            old = [one for one, at in seen.items() if at & 0xFFFFFFFF < hour - HISTORY_HOURS]
            for country in old:
                del seen[country]
                self.changed.add(name)
            self._count -= len(old)
            if not seen:
                del self._seen[name], self._since[name]

    # -- kept across a restart -----------------------------------------------------------------

    def names(self) -> Iterator[str]:
        """All companies."""
        return iter(tuple(self._seen))

    def record(self, name: str) -> dict[str, Any] | None:
        """What is known of a company, to be stored; None: nothing any more."""
        seen = self._seen.get(name)
        if seen is None:
            return None
        countries = {one: [at >> _SHIFT, at & 0xFFFFFFFF] for one, at in seen.items()}
        return {"since": self._since[name], "countries": countries}

    def restore(self, name: str, stored: object, now: int) -> None:
        """Add what was stored; it may have been edited, so only possible hours are taken."""
        hour = now // HOUR_MS
        if not isinstance(stored, dict) or len(name) > MAX_NAME:
            return
        since, countries = stored.get("since"), stored.get("countries")
        if not _is_hour(since, hour) or not isinstance(countries, dict):
            return
        seen: dict[str, int] = {}
        for country, hours in countries.items():
            usable = isinstance(hours, list) and len(hours) == 2
            if not usable or len(country) != 2 or not all(_is_hour(one, hour) for one in hours):
                continue
            if hours[0] <= hours[1] and hours[1] >= hour - HISTORY_HOURS:
                seen[country] = hours[0] << _SHIFT | hours[1]
        here = self._seen.get(name, {})
        if not seen or self._count + len(seen) > MOST:
            return
        for country, at in here.items():  # called since our start
            first = seen.get(country, at) >> _SHIFT
            seen[country] = min(first, at >> _SHIFT) << _SHIFT | at & 0xFFFFFFFF
        self._count += len(seen) - len(here)
        self._seen[name] = seen
        self._since[name] = min(since, self._since.get(name, since))


def _is_hour(value: object, latest: int) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= latest
