"""Which country and area a number belongs to, by Google's ``phonenumbers``.

The library is imported when a page first asks, because it takes 20 ms and memory: 4 MB with 3,000
numbers of 200 countries (RSS of a child process). A region loads when a number of it is seen, and
results are kept for the numbers seen last. No event waits for this: only documents of panels and
the drawer's call ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import lru_cache
from types import ModuleType
from typing import Final, NamedTuple

from livestate.state.call import Call
from livestate.state.kpi.recent import digits_of

MOST_KEPT: Final = 16_384
START: Final = 8  # characters, with the plus, that tell a number's country, area and kind
SHORTEST: Final = 7  # digits; fewer are extensions and short numbers
# Country codes of satellite networks (870 Inmarsat, 881 GMSS, 882 and 883 international networks),
# and of the international premium rate service (ITU-T E.164, list of assigned codes).
SATELLITE: Final = frozenset({870, 881, 882, 883})
PREMIUM: Final = 979


class Place(NamedTuple):
    """``country``: ISO 3166-1, two letters; ``prefix``: country code and area, such as ``+39 02``;
    ``kind``: of the number."""

    country: str | None = None
    prefix: str | None = None
    kind: str = "unknown"


UNKNOWN: Final = Place()
KINDS: Final = ("fixed", "mobile", "toll_free", "premium", "shared_cost", "voip", "satellite",
                "short", "unknown")  # fmt: skip
_KINDS: Final = {0: "fixed", 1: "mobile", 2: "fixed", 3: "toll_free", 4: "premium",
                 5: "shared_cost", 6: "voip"}  # fmt: skip


class Numbering:
    """``country``: of numbers without a country code, ISO 3166-1; None: they stay unknown."""

    def __init__(self, country: str | None) -> None:
        self._country = country
        self._library: ModuleType | None = None
        self.place = lru_cache(MOST_KEPT)(self._place)
        self.grouped = lru_cache(MOST_KEPT)(self._grouped)

    async def load(self) -> None:
        """Import the library, in a thread. Needed once, before the first question."""
        if self._library is None:
            self._library = await asyncio.to_thread(_import)

    def place_of(self, number: str) -> Place:
        """The same for documents that read all calls: of a number with this beginning and length.
        It takes 0.1 ms once, and then nothing for all numbers of that beginning. The result does
        not depend on which of them came first, because others may choose that one."""
        return self.place(number[:START].ljust(len(number), "0"))

    async def of_call(self, call: Call) -> dict[str, dict[str, str | None]]:
        """The parties with a telephone number: as it is written, and its country."""
        await self.load()
        found: dict[str, dict[str, str | None]] = {}
        for name, party in (("from", call.attributes.caller), ("to", call.attributes.callee)):
            number = digits_of(party)
            written = self.grouped(number)
            if written is not None:
                found[name] = {"text": written, "country": self.place(number).country}
        return found

    def _place(self, number: str) -> Place:
        """The place of a number as :func:`~livestate.state.kpi.recent.digits_of` writes it."""
        library = self._library
        if library is None or not number:
            return UNKNOWN
        if not number.startswith("+"):
            if len(number) < SHORTEST:
                return Place(kind="short")
            if self._country is None:
                return UNKNOWN
        try:
            parsed = library.parse(number, self._country)
        except library.NumberParseException:
            return UNKNOWN
        code = parsed.country_code
        region = library.region_code_for_number(parsed) or library.region_code_for_country_code(
            code
        )
        area = library.length_of_national_destination_code(parsed)
        prefix = f"+{code} {library.national_significant_number(parsed)[:area]}".rstrip()
        kind = _KINDS.get(library.number_type(parsed), "unknown")
        if code in SATELLITE:
            kind = "satellite"
        elif code == PREMIUM:
            kind = "premium"
        return Place(region if len(region) == 2 and region != "ZZ" else None, prefix, kind)

    def _grouped(self, number: str) -> str | None:
        """The number as people of the world write it, such as ``+39 06 1234 5678``; None if it is
        not known to be one."""
        library = self._library
        if library is None or self._place(number).prefix is None:
            return None
        try:
            parsed = library.parse(number, self._country)
        except library.NumberParseException:
            return None
        written = library.format_number(parsed, library.PhoneNumberFormat.INTERNATIONAL)
        return str(written) if library.is_possible_number(parsed) else None


def _import() -> ModuleType:
    import phonenumbers

    return phonenumbers


def known_countries() -> Collection[str]:
    """All countries with numbers of their own. Imports the library."""
    return frozenset(_import().SUPPORTED_REGIONS)
