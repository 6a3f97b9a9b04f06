"""Reads the fields that events, heartbeats and lists of Kamailio share, as the contract has them.

The translation calls these functions. A field that is required and cannot be read raises
ValueError, KeyError or TypeError, which rejects its frame; an optional one is left out alone. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from livestate.bridge.kamailio.identity import is_name
from livestate.bridge.kamailio.variables import figure, number, text, time_ms
from livestate.contract.events import Direction
from livestate.contract.messages import Message
from livestate.contract.node_name import node_name_problem
from livestate.contract.quality import FIGURES
from livestate.contract.sip_address import without_password
from livestate.contract.validation import MAX_DISPLAY_CHARS

MAX_NUMBER: Final = 2**53 - 1  # of the contract
MAX_ID: Final = 2**32 - 1  # h_entry and h_id are unsigned int
MAX_DIALOGS: Final = 2**32 - 1
_URIS: Final = ("from_uri", "to_uri")
_DIRECTIONS: Final = get_args(Direction)
_DIALOG_STATES: Final = ("starting", "connecting", "answering", "ongoing")


def envelope(frame: Message) -> Message:
    """Schema version, node, epoch, number and time: what every message of a node carries."""
    node = frame["node"]
    if not isinstance(node, str) or (problem := node_name_problem(node)):
        raise ValueError(problem if isinstance(node, str) else f"a node called {str(node)[:80]}")
    return {
        "v": 1,
        "node": node,
        "epoch": whole(frame["epoch"], MAX_NUMBER),
        "seq": whole(frame["seq"], MAX_NUMBER),
        "ts": milliseconds(frame["ts"]),
    }


def whole(value: object, most: int) -> int:
    """A number from 0 to ``most``, which Kamailio sends as a number or as text."""
    found = number(value, 0, most)
    if found is None:
        raise ValueError(f"{str(value)[:40]!r} is no whole number from 0 to {most}")
    return found


def milliseconds(seconds: object) -> int:
    """Kamailio's clock (seconds with a fraction, as text) in ms. The clock may be wrong by decades:
    livestate corrects that per node."""
    integer, _, fraction = (text(seconds) or "").partition(".")
    digits = integer + fraction
    if not (digits.isascii() and digits.isdigit() and integer and len(integer) <= 12):
        raise ValueError(f"{str(seconds)[:40]!r} is no time in seconds")
    return int(integer) * 1000 + int((fraction + "000")[:3])


def dialogs_up(heartbeat: Message) -> Message:
    """How many dialogs are up, as the field ``dialogs``. The script counts them in Kamailio's
    table, because the statistics of the module ``dialog`` drift."""
    if not any(name in heartbeat for name in _DIALOG_STATES):
        return {}
    return {"dialogs": sum(whole(heartbeat.get(name) or 0, MAX_DIALOGS) for name in _DIALOG_STATES)}


def dropped_ends(heartbeat: Mapping[str, object]) -> dict[str, int]:
    """How many terminal events Kamailio has deleted since its start because it keeps a limited
    number for a bridge: of answered calls (``ends``), of calls never answered (``failed``) and of
    calls that the proxy refused (``refused``)."""
    found = {}
    for kind in ("ends", "failed", "refused"):
        count = number(heartbeat.get(f"dropped_{kind}"), 1, MAX_NUMBER)
        if count is not None:
            found[kind] = count
    return found


def dialog_name(fields: Message) -> str:
    """Kamailio's own name of a dialog: its entry in the hash table and its number there."""
    return f"{whole(fields['h_entry'], MAX_ID)}.{whole(fields['h_id'], MAX_ID)}"


def uris(fields: Message) -> Message:
    """From and To as they were sent, without passwords."""
    found = {name: text(fields.get(name)) for name in _URIS}
    return {name: without_password(uri)[:MAX_DISPLAY_CHARS] for name, uri in found.items() if uri}


def company_and_trunk(company: object, trunk: object, direction: object) -> Message:
    """Company, trunk and direction of a call, which the operator's routes set."""
    named = {"company_id": text(company), "trunk": text(trunk)}
    found: Message = {name: value for name, value in named.items() if is_name(value)}
    return found | ({"direction": direction} if direction in _DIRECTIONS else {})


def owning_node(name: str | None, node: str) -> str | None:
    """The node at which a replicated dialog began; None for a dialog of ``node`` itself."""
    return name if name and name != node and not node_name_problem(name) else None


def times(values: Mapping[str, object]) -> Message:
    """Those of the times by name that can be read, in ms."""
    return {name: at for name, value in values.items() if (at := time_ms(value)) is not None}


def quality(values: Mapping[str, object]) -> Message:
    """What the operator's routes know of the call's audio."""
    return {
        name: found for name in FIGURES if (found := figure(name, values.get(name))) is not None
    }
