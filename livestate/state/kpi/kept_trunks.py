"""The counts of trunks as plain values, so that they survive a restart.

:mod:`livestate.store.trunk_figures` writes them to Redis and reads them again: each half minute of
:class:`~livestate.state.kpi.trunk_window.TrunkWindow` by scope, and each slot of its hour. What was
stored may have been edited: only numbers that such a counter can have are taken, and not more names
than the window counts. Pure.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

from livestate.state.kpi.kept import MOST
from livestate.state.kpi.trunk_window import (
    MOST_CODES,
    MOST_OF_COMPANY,
    MOST_PAIRS,
    NO_TRUNK,
    PLACES,
    Bucket,
    Trunks,
    TrunkWindow,
)

ALL: Final = ""  # the scope of all calls; no company has an empty name
MAX_NAME: Final = 64
MAX_CODE: Final = 24


def scopes_of(bucket: Bucket) -> list[tuple[str, dict[str, Any]]]:
    """(scope, counts) of one half minute, the scope of all calls first."""
    everything = _values(bucket.everything) | {"others": _values(bucket.others)}
    return [(ALL, everything), *((name, _values(own)) for name, own in bucket.companies.items())]


def _values(trunks: Trunks) -> dict[str, Any]:
    counts = {name: own.tolist() for name, own in trunks.counts.items()}
    return {"counts": counts, "codes": trunks.codes}


def restore_bucket(window: TrunkWindow, at: int, scopes: dict[str, Any]) -> None:
    """Put back the half minute ``at`` from before a restart, unless that time is counted here."""
    if any(one.at == at for one in window.buckets):
        return
    bucket = Bucket(at)
    everything = scopes.get(ALL)
    bucket.everything = _trunks(everything, window.most)
    others = everything.get("others") if isinstance(everything, dict) else None
    bucket.others = _trunks(others, 1)
    for trunk in [name for name in bucket.others.counts if name != NO_TRUNK]:
        del bucket.others.counts[trunk]
    for company, stored in scopes.items():
        if company == ALL or len(company) > MAX_NAME:
            continue
        own = _trunks(stored, min(MOST_OF_COMPANY, MOST_PAIRS - bucket.pairs))
        if own.counts:
            bucket.companies[company] = own
            bucket.pairs += len(own.counts)
    window.restore(bucket)


def restore_slot(window: TrunkWindow, at: int, stored: object) -> None:
    """Put back a slot of the hour, unless that time is counted here."""
    slot: dict[str, list[int]] = {}
    for name, counts in stored.items() if isinstance(stored, dict) else ():
        if len(slot) < window.most and len(name) <= MAX_NAME and _are_counts(counts, 2):
            slot[name] = counts
    window.hour.restore(at, slot)


def _trunks(stored: object, most: int) -> Trunks:
    """Counts of at most ``most`` trunks; those that are unusable are left out."""
    found = Trunks()
    counts = stored.get("counts") if isinstance(stored, dict) else None
    codes = stored.get("codes") if isinstance(stored, dict) else None
    for name, own in counts.items() if isinstance(counts, dict) else ():
        if len(found.counts) < most and len(name) <= MAX_NAME and _are_counts(own, PLACES):
            found.counts[name] = array("q", own)
    for name, own in codes.items() if isinstance(codes, dict) else ():
        if name in found.counts and _are_codes(own):
            found.codes[name] = own
    return found


def _are_codes(values: object) -> bool:
    return (
        isinstance(values, dict)
        and len(values) <= MOST_CODES + 1
        and all(len(code) <= MAX_CODE for code in values)
        and _are_counts([*values.values()], len(values))
    )


def _are_counts(values: object, length: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == length
        and all(type(one) is int and -MOST < one < MOST for one in values)
    )
