"""What an engine and its edges say to each other over NATS. Pure.

| subject | from → to | payload |
|---|---|---|
| ``livestate.engine`` | engine → edges | a :class:`Beat`, twice a second |
| ``livestate.frames.<view>`` | engine → edges | a :class:`Frame` or a heartbeat of one view |
| ``livestate.view.<view>`` | edge → engine, request | a company, and what the edge holds of a
numbering that ended; the reply is the state |
| ``livestate.watch`` | edge → engine | which views the edge shows, and its report, every 2 s |
| ``livestate.call`` | edge → engine, request | one call with its timeline, or a panel (gzip) |
| ``livestate.handover`` | engine → engines | that it has given the lease back |

Only unfiltered views travel; edges narrow them. ``<view>`` is ``all`` or a digest of the company's
name, which may hold what a subject may not. Each payload begins with one line of JSON (the head)
and may have a body after it. The head is not a NATS header: nats-py parses those with the email
package.

Every message of an engine carries its ``fence``: an engine that takes over has a higher one, and
edges ignore all that is lower. ``schema`` changes when an older edge could not read a message;
fields may be added without that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from livestate.cluster.reports import EdgeReport, read_report
from livestate.contract.errors import LivestateError

SCHEMA: Final = 1
ENGINE: Final = "livestate.engine"
FRAMES: Final = "livestate.frames."
VIEW: Final = "livestate.view."
WATCH: Final = "livestate.watch"
CALL: Final = "livestate.call"
HANDOVER: Final = "livestate.handover"
PART_BYTES: Final = 128 * 1024  # of a state; max_payload is 1 MB unless an operator changed it
WATCHED_AT_ONCE: Final = 500  # companies in one message of ``livestate.watch``

_NONE: Final[Mapping[str, int]] = {}

Kind: TypeAlias = Literal["diff", "heartbeat", "state"]


class Unreadable(LivestateError):
    """A message that this version cannot use; the text says why."""


class Head(NamedTuple):
    """The first line of a message about one view.

    A ``diff`` leads from any version of ``since`` to ``version`` to ``version``; a ``heartbeat``
    and a ``state`` are of ``version``. A state with a ``since`` has only what changed after that
    version, which the edge holds: for an edge that can read it (:class:`Held`). Below ``floor`` a
    client needs a snapshot. ``before`` names the numbering that this one continues, and the last
    version of it.
    """

    kind: Kind
    fence: int
    tag: str
    version: int
    floor: int
    since: int = 0
    before: tuple[str, int] | None = None
    part: int = 0  # of a state, from 0
    more: bool = False  # of a state: further parts follow
    gone: Mapping[str, int] = _NONE  # of a diff: the calls that left, and at which versions


class Held(NamedTuple):
    """What an edge holds of a view whose numbering has ended: it is at ``version`` of ``tag``, and
    ``rows`` are the (key, version, index) of all that changed after ``since``: the call's record
    has the fields ``fields[index]``; the index of a call that left is -1. With ``rest`` the edge
    can read a state that has only what changed after ``version``."""

    tag: str
    version: int
    since: int
    rows: Sequence[tuple[str, int, int]]
    fields: Sequence[Sequence[str]]
    rest: bool = True


class Beat(NamedTuple):
    """That an engine lives, and whether what it shows is fed. Times are ms since the Unix epoch."""

    fence: int
    epoch: str
    ready: bool
    as_of: int
    stale_since: int | None
    reason: str
    troubles: list[dict[str, Any]]


def view_name(company_id: str | None) -> str:
    """The last token of a view's subjects; ``company_id`` None is the view of all calls."""
    if company_id is None:
        return "all"
    return blake2b(company_id.encode("utf-8", "surrogatepass"), digest_size=15).hexdigest()


def encode(head: Head, body: bytes = b"") -> bytes:
    """A message about one view."""
    return orjson.dumps({"schema": SCHEMA, **head._asdict()}) + b"\n" + body


def decode(payload: bytes) -> tuple[Head, bytes]:
    """The head and the body of a message. Raises :class:`Unreadable`."""
    line, _, body = payload.partition(b"\n")
    fields = _object(line)
    before = fields.get("before")
    try:
        head = Head(
            kind=fields["kind"],
            fence=int(fields["fence"]),
            tag=str(fields["tag"]),
            version=int(fields["version"]),
            floor=int(fields["floor"]),
            since=int(fields["since"]),
            before=None if before is None else (str(before[0]), int(before[1])),
            part=int(fields["part"]),
            more=bool(fields["more"]),
            gone={str(key): int(at) for key, at in fields["gone"].items()},
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Unreadable(f"a head without a valid {error}") from error
    if head.kind not in ("diff", "heartbeat", "state"):
        raise Unreadable(f"a message of kind {head.kind!r}")
    return head, body


def encode_beat(beat: Beat) -> bytes:
    return orjson.dumps({"schema": SCHEMA, **beat._asdict()})


def decode_beat(payload: bytes) -> Beat:
    """Raises :class:`Unreadable`."""
    fields = _object(payload)
    try:
        return Beat(*(fields[name] for name in Beat._fields))
    except KeyError as error:
        raise Unreadable(f"a beat without {error}") from error


def encode_scope(company_id: str | None, held: Held | None = None) -> bytes:
    """A request for the state of a view."""
    fields = {"schema": SCHEMA, "company_id": company_id}
    return orjson.dumps(fields if held is None else fields | {"held": held._asdict()})


def decode_scope(payload: bytes) -> tuple[str | None, Held | None]:
    """The company of a request for a view, and what the edge holds. Raises :class:`Unreadable`."""
    fields = _object(payload)
    company_id, held = _company(fields.get("company_id")), fields.get("held")
    if held is None:
        return company_id, None
    try:
        rows = [(str(key), int(version), int(index)) for key, version, index in held["rows"]]
        names = [[str(name) for name in one] for one in held["fields"]]
        if not all(-1 <= index < len(names) for _, _, index in rows):
            raise Unreadable("a request with rows of unknown fields")
        version, since = int(held["version"]), int(held["since"])
        rest = bool(held.get("rest", False))
        return company_id, Held(str(held["tag"]), version, since, rows, names, rest)
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"a request with unusable rows: {error!r}") from error


def encode_watched(
    companies: Iterable[str | None], report: EdgeReport | None = None
) -> Iterator[bytes]:
    """Messages that name the views that an edge shows; the first one has its report."""
    names = list(companies)
    for start in range(0, max(len(names), 1), WATCHED_AT_ONCE):
        fields: dict[str, Any] = {"companies": names[start : start + WATCHED_AT_ONCE]}
        if report is not None and start == 0:
            fields["edge"] = report._asdict()
        yield orjson.dumps({"schema": SCHEMA, **fields})


def decode_watched(payload: bytes) -> tuple[list[str | None], EdgeReport | None]:
    """The views that an edge shows, and its report. Raises :class:`Unreadable`."""
    fields = _object(payload)
    names = fields.get("companies")
    if not isinstance(names, list):
        raise Unreadable("a list of views without companies")
    return [_company(name) for name in names], read_report(fields.get("edge"))


def encode_call(key: str, company_id: str | None) -> bytes:
    return orjson.dumps({"schema": SCHEMA, "key": key, "company_id": company_id})


def decode_call(payload: bytes) -> tuple[str, str | None]:
    """The key of a call, and the company that may see it (None: any). Raises
    :class:`Unreadable`."""
    fields = _object(payload)
    return str(fields.get("key")), _company(fields.get("company_id"))


class PanelRequest(NamedTuple):
    """A panel's document of a company (None: all calls), narrowed to trunks and to a response; or
    ``acknowledge``: the alarm with this id, by this name."""

    panel: str
    company_id: str | None
    trunks: tuple[str, ...]
    code: str | None
    alarm: str | None = None
    by: str | None = None


def encode_panel(
    panel: str,
    company_id: str | None,
    trunks: Iterable[str] = (),
    code: str | None = None,
    *,
    alarm: str | None = None,
    by: str | None = None,
) -> bytes:
    """A request for a panel's document goes where those for calls go, and needs no other right."""
    request = {"panel": panel, "company_id": company_id, "trunks": list(trunks), "code": code}
    if alarm is not None:
        request |= {"alarm": alarm, "by": by}
    return orjson.dumps({"schema": SCHEMA, **request})


def decode_panel(payload: bytes) -> PanelRequest | None:
    """The request; None where it is for a call. Raises :class:`Unreadable`."""
    fields = _object(payload)
    panel = fields.get("panel")
    if panel is None:
        return None
    trunks, code = fields.get("trunks") or [], fields.get("code")
    if not isinstance(trunks, list):
        raise Unreadable("trunks that are no list")
    return PanelRequest(
        str(panel),
        _company(fields.get("company_id")),
        tuple(map(str, trunks)),
        None if code is None else str(code),
        *(None if fields.get(name) is None else str(fields[name]) for name in ("alarm", "by")),
    )


def _company(name: object) -> str | None:
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= 64):
        raise Unreadable("a company_id that is neither null nor 1 to 64 characters")
    return name


def _object(payload: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise Unreadable("no JSON object")
    schema = fields.get("schema")
    if schema != SCHEMA:
        raise Unreadable(f"schema {schema!r}; this version reads {SCHEMA}")
    return fields
