"""The event contract: what a node says on NATS ``call.events.<phase>``, as frozen models.

A message becomes a model here, once, or is :class:`~livestate.errors.Rejected` with a reason.
Not here: what an event does to a call (:mod:`livestate.call`).

Terms are SIP's (RFC 3261, RFC 4235). Times are integers, milliseconds since the Unix epoch.
Absent means unknown. Fields are cumulative: each event repeats what its node knows of the call.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from livestate.errors import Rejected, UnknownPhase

SUBJECT_PREFIX: Final = "call.events."
CDR_SUBJECT: Final = "cdr.raw"
MAX_MESSAGE_BYTES: Final = 256 * 1024  # a sync part of 200 calls is about 90 KB
MAX_DISPLAY_CHARS: Final = 256  # text for people; longer is cut, never a reason to lose a call
MAX_NAME_CHARS: Final = 64  # of a company, a trunk, a dialog
MAX_CALL_ID_CHARS: Final = 512  # RFC 3261 sets no limit, memory does
_EARLIEST_MS: Final = 946_684_800_000  # 2000-01-01: below it somebody sent seconds
_LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01

Count: TypeAlias = Annotated[int, Field(ge=0, le=2**53 - 1)]  # what a JavaScript number can hold
Millis: TypeAlias = Annotated[int, Field(ge=_EARLIEST_MS, le=_LATEST_MS)]
NodeName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]  # a NATS token
CallId: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_CALL_ID_CHARS)]
ShortName: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
Display: TypeAlias = Annotated[str, Field(max_length=MAX_DISPLAY_CHARS)]
Direction: TypeAlias = Literal["inbound", "outbound", "internal"]
CausedBy: TypeAlias = Literal["caller", "callee", "proxy", "timeout_ringing", "timeout_no_reply"]
Outcome: TypeAlias = Literal[
    "answered", "busy", "no_answer", "no_reply", "canceled", "declined", "unavailable",
    "invalid_number", "congestion", "rejected_local", "failed", "expired", "terminated", "lost",
]  # fmt: skip
LiveState: TypeAlias = Literal["trying", "ringing", "early", "answered", "held"]


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,  # only the adapters below are used, and they build what they need
    )


class Facts(_Strict):
    """What is known of one call. All optional: a broken From header must not hide a call."""

    company_id: ShortName | None = None
    direction: Direction | None = None
    caller: Display | None = Field(default=None, alias="from")
    callee: Display | None = Field(default=None, alias="to")
    from_uri: Display | None = None
    to_uri: Display | None = None
    trunk: ShortName | None = None
    attempt: Count | None = None
    setup_at: Millis | None = None
    progress_at: Millis | None = None
    answered_at: Millis | None = None
    ended_at: Millis | None = None
    sip_code: Annotated[int, Field(ge=100, le=699)] | None = None
    sip_reason: Display | None = None
    by: CausedBy | None = None
    outcome: Outcome | None = None
    detail: Display | None = None


class Envelope(_Strict):
    """Who says it, and where it stands in that node's gap-free sequence."""

    v: Annotated[int, Field(ge=1, le=1, json_schema_extra={"const": 1})]
    node: NodeName
    epoch: Count
    seq: Count
    ts: Millis


class CallEvent(Envelope, Facts):
    """Something happened to one call. Without ``dialog`` the proxy refused it: never live."""

    call_id: CallId
    dialog: ShortName | None = None


class Setup(CallEvent):
    """The INVITE was accepted for relaying."""

    phase: Literal["setup"]


class Ringing(CallEvent):
    """A provisional response without SDP (RFC 3261 §21.1)."""

    phase: Literal["ringing"]


class EarlyMedia(CallEvent):
    """A provisional response with SDP (RFC 3960)."""

    phase: Literal["early_media"]


class Reroute(CallEvent):
    """The proxy tries the next gateway: ``attempt`` and ``trunk`` are the new ones."""

    phase: Literal["reroute"]


class Answered(CallEvent):
    """The 2xx to the INVITE."""

    phase: Literal["answered"]


class Hold(CallEvent):
    """A re-INVITE stopped the media (RFC 6337 §5.3)."""

    phase: Literal["hold"]


class Resume(CallEvent):
    """A re-INVITE started the media again."""

    phase: Literal["resume"]


class Transfer(CallEvent):
    """A REFER was accepted (RFC 3515)."""

    phase: Literal["transfer"]


class Notice(CallEvent):
    """Something the node numbered that changes no state; ``detail`` says what."""

    phase: Literal["notice"]


class Ended(CallEvent):
    """The dialog is over and had been answered. Terminal."""

    phase: Literal["ended"]


class Failed(CallEvent):
    """The call is over and was never answered. Terminal."""

    phase: Literal["failed"]


class Heartbeat(Envelope):
    """The node lives; ``seq`` repeats the last number it gave out. Every 2 s."""

    phase: Literal["heartbeat"]
    dialogs: Count | None = None


class SyncedCall(Facts):
    """One live dialog in a node's list. ``held`` absent: this node cannot tell."""

    call_id: CallId
    dialog: ShortName
    state: LiveState
    held: bool | None = None


class Sync(Envelope):
    """A part of the node's full list of dialogs, true at ``seq`` (S0)."""

    phase: Literal["sync"]
    sync_id: ShortName
    part: Annotated[int, Field(ge=1, le=10_000)]
    parts: Annotated[int, Field(ge=1, le=10_000)]
    calls: Annotated[tuple[SyncedCall, ...], Field(max_length=200)]


class Lost(Envelope):
    """An instance of livestate gives a call up: its node has been silent, or has not answered for
    its list, for too long. ``seq`` repeats the last number heard of the node. It closes the call
    only where it is unconfirmed, and whatever the node says later of the call counts more."""

    phase: Literal["lost"]
    call_id: CallId
    dialog: ShortName


CallPhase: TypeAlias = (
    Setup | Ringing | EarlyMedia | Reroute | Answered | Hold | Resume | Transfer | Notice
    | Ended | Failed
)  # fmt: skip
Event: TypeAlias = Annotated[CallPhase | Heartbeat | Sync | Lost, Field(discriminator="phase")]
Cdr: TypeAlias = Annotated[Ended | Failed, Field(discriminator="phase")]

PHASES: Final[frozenset[str]] = frozenset(
    get_args(model.model_fields["phase"].annotation)[0]
    for model in (*get_args(CallPhase), Heartbeat, Sync, Lost)
)
SUBJECTS: Final[dict[str, str]] = {SUBJECT_PREFIX + phase: phase for phase in PHASES}
REJECT_REASONS: Final = (
    "unknown_phase", "phase_mismatch", "too_large", "not_json", "duplicate_keys",
    "unsupported_version", "missing_field", "too_long", "out_of_range", "wrong_type",
    "too_many_calls", "too_many_nodes",
)  # fmt: skip

# One adapter for the life of the process: building one costs 100 × a validation.
EVENT: Final[TypeAdapter[Any]] = TypeAdapter(Event)
CDR: Final[TypeAdapter[Any]] = TypeAdapter(Cdr)
_ENVELOPE: Final = TypeAdapter(Envelope)

_REASON_OF: Final = {
    "json_invalid": "not_json",
    "missing": "missing_field",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "string_too_short": "out_of_range",
    "string_pattern_mismatch": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "literal_error": "out_of_range",
    "int_parsing_size": "out_of_range",
    "union_tag_invalid": "phase_mismatch",
    "union_tag_not_found": "missing_field",
}


def parse(subject: str, data: bytes) -> CallPhase | Heartbeat | Sync | Lost:
    """One message into one event.

    Raises :class:`~livestate.errors.Rejected`; for a phase this version does not know,
    :class:`~livestate.errors.UnknownPhase` if the envelope at least is sound.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise Rejected("too_large", f"{len(data)} bytes")
    phase = SUBJECTS.get(subject)
    if phase is None:
        raise _unknown_phase(subject, data)
    try:
        event: CallPhase | Heartbeat | Sync | Lost = EVENT.validate_json(data)
    except ValidationError as error:
        event = _mended(EVENT, data, error)
    if event.phase != phase:
        raise Rejected("phase_mismatch", f"{event.phase} on {subject}")
    # Every key has its colon: as many colons as fields that were set is no key twice. Colons in
    # text, unknown keys and spaces only cost a slower look.
    if phase != "sync":
        keys = len(event.model_fields_set)
        if data.count(b":") != keys and (data.count(b'":') != keys or _SPACED_COLON.search(data)):
            _refuse_repeated_keys(data)
    return event


def parse_cdr(data: bytes) -> Ended | Failed:
    """One CDR of ``cdr.raw``: the terminal event of a call, made durable; the numbers in it are
    those of that event, so to fold both is to fold one.

    Raises :class:`~livestate.errors.Rejected`.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise Rejected("too_large", f"{len(data)} bytes")
    try:
        cdr: Ended | Failed = CDR.validate_json(data)
    except ValidationError as error:
        cdr = _mended(CDR, data, error)
    return cdr


def _unknown_phase(subject: str, data: bytes) -> Rejected:
    try:
        envelope = _ENVELOPE.validate_json(data)
    except ValidationError:
        return Rejected("unknown_phase", subject[:80])
    return UnknownPhase(subject[:80], envelope.node, envelope.epoch, envelope.seq)


def _mended(adapter: TypeAdapter[Any], data: bytes, error: ValidationError) -> Any:
    """Text for people that is too long, or half a surrogate pair, is mended; the rest rejected.

    An attacker chooses a caller's name. He must not be able to hide the call with it.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if not all((_is_display(e["loc"]) and e["type"] == "string_too_long") or _is_surrogate(e)
               for e in found):  # fmt: skip
        raise _reject(found[0]["type"], found[0]["loc"], found[0]["msg"]) from None
    try:
        mended = json.dumps(_trim(json.loads(data)))
    except (ValueError, RecursionError) as broken:
        raise Rejected("not_json", str(broken)[:200]) from None
    try:
        return adapter.validate_json(mended)
    except ValidationError as again:
        found = again.errors(include_url=False, include_context=False, include_input=False)
        raise _reject(found[0]["type"], found[0]["loc"], found[0]["msg"]) from None


_SPACED_COLON: Final = re.compile(rb'"[ \t\r\n]+:')
_DISPLAY_FIELDS: Final = frozenset({"from", "to", "from_uri", "to_uri", "sip_reason", "detail"})


def _is_display(loc: tuple[int | str, ...]) -> bool:
    return bool(loc) and loc[-1] in _DISPLAY_FIELDS


def _is_surrogate(error: Any) -> bool:
    # A lone half of a surrogate pair ("\ud800"): the parser calls it a bad hex escape.
    return error["type"] == "json_invalid" and "hex escape" in error["msg"]


def _trim(value: Any, field: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _trim(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_trim(inner) for inner in value]
    if isinstance(value, str):
        text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text[:MAX_DISPLAY_CHARS] if field in _DISPLAY_FIELDS else text
    return value


def _reject(kind: str, loc: tuple[int | str, ...], message: str) -> Rejected:
    where = ".".join(str(part) for part in loc)
    if loc[-1:] == ("v",) and kind != "missing":
        return Rejected("unsupported_version", message)
    return Rejected(_REASON_OF.get(kind, "wrong_type"), f"{where}: {message}"[:200])


def _refuse_repeated_keys(data: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Rejected("duplicate_keys")
        return found

    try:
        json.loads(data, object_pairs_hook=unique)
    except RecursionError:
        raise Rejected("not_json", "nested too deep") from None


def contract_schema() -> dict[str, Any]:
    """The contract as JSON Schema (draft 2020-12), as ``livestate schema`` prints it."""
    return EVENT.json_schema(by_alias=True)
