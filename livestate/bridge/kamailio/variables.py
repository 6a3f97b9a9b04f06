"""Reads the dialog variables of the script, and values as Kamailio prints them.

The translation reads every value through these functions: a value that makes no sense is left out
alone, so that it costs neither its call nor the list with that call. ``deploy/kamailio`` names its
variables ``ls_…``, because a dialog also carries the variables of other modules and of the
operator's own routes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from livestate.contract.quality import problem

PREFIX: Final = "ls_"
NULL: Final = "<null>"  # how Kamailio prints an unset variable within a string
MAX_ATTEMPT: Final = 10_000  # a higher number of re-routes is a mistake
_EARLIEST_MS: Final = 946_684_800_000  # 2000-01-01, as in the contract
_LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01

_DECIMAL: Final = re.compile(r"\d{1,6}(\.\d{1,6})?")

Variables: TypeAlias = Mapping[str, str]

# Names without prefix, of older versions: captures and databases still have them.
_BARE: Final[Mapping[str, str]] = {
    "co": "company", "dir": "direction", "gw": "trunk", "ru": "dialled", "att": "attempt",
    "t0": "setup_at", "t1": "progress_at", "t2": "answered_at", "em": "early_media",
    "rg": "ringing", "hold": "hold",
}  # fmt: skip


def variables_of(dialog: Mapping[str, object]) -> Variables:
    """The script's variables of one dialog of ``dlg.list``, without their prefix.

    Names without prefix count only where the dialog has no ``ls_`` variable at all: beside one,
    they belong to other modules or routes.
    """
    found = _all(dialog)
    ours = {n.removeprefix(PREFIX): value for n, value in found.items() if n.startswith(PREFIX)}
    return ours or {_BARE[name]: value for name, value in found.items() if name in _BARE}


def old_names(dialog: Mapping[str, object]) -> Mapping[str, str]:
    """Old names that the operator's routes still set (company, direction, gateway), each with the
    new name where that is not set."""
    found = _all(dialog)
    new = {bare: f"{PREFIX}{_BARE[bare]}" for bare in ("co", "dir", "gw") if bare in found}
    return {bare: name for bare, name in new.items() if name not in found}


def _all(dialog: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    listed = dialog.get("variables")
    for pair in listed if isinstance(listed, list) else [listed]:
        if isinstance(pair, dict):
            found |= {str(name): known for name, value in pair.items() if (known := text(value))}
    return found


def text(value: object) -> str | None:
    """A value as text; None if it is unset or not a single value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = str(value)
    return None if found in ("", NULL) else found


def number(value: object, least: int, most: int) -> int | None:
    """A decimal number within bounds, else None."""
    found = text(value) or ""
    if not (found.isascii() and found.isdigit() and len(found) <= len(str(most))):
        return None
    return int(found) if least <= int(found) <= most else None


def figure(name: str, value: object) -> float | None:
    """A figure of the quality (``mos``, ``jitter_ms``, ``loss_pct``), which Kamailio has as text
    like "4.3"; None if it is none of the contract."""
    found = text(value) or ""
    if not (found.isascii() and _DECIMAL.fullmatch(found)):
        return None
    return None if problem(name, float(found)) else float(found)


def time_ms(value: object) -> int | None:
    """Kamailio's time (``$TV(Sn)``: seconds with a fraction, as text) in ms; None if it is not
    between the years 2000 and 2100."""
    whole, _, fraction = (text(value) or "").partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit() or len(whole) > 10:
        return None
    at = int(whole or "0") * 1000 + int((fraction + "000")[:3])
    return at if _EARLIEST_MS <= at <= _LATEST_MS else None
