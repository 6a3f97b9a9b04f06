"""The event contract: the messages of a node on NATS ``call.events.<phase>``, as frozen models.

:mod:`livestate.contract.parse` makes them from bytes, and ``docs/contract.schema.json`` is
generated from them. What an event does to a call is :mod:`livestate.state.call`.

Terms are SIP's (RFC 3261, RFC 4235). Times are integers, milliseconds since the Unix epoch.
Absent means unknown. Fields are cumulative: each event repeats what its node knows of the call, so
one event is enough to create a call that is first seen in the middle.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
)

from livestate.contract.node_name import NodeName
from livestate.contract.quality import Jitter, Loss, Mos
from livestate.contract.sip_address import without_password
from livestate.contract.states import LiveState
from livestate.contract.validation import MAX_DISPLAY_CHARS

SUBJECT_PREFIX: Final = "call.events."
CDR_SUBJECT: Final = "cdr.raw"
SYNC_SUBJECT: Final = SUBJECT_PREFIX + "sync"
BATCH_SUBJECT: Final = SUBJECT_PREFIX + "batch"  # several events in one message
RESYNC_PREFIX: Final = "call.resync."  # then the node: asks its bridge for a list of dialogs
MAX_MESSAGE_BYTES: Final = 256 * 1024  # a sync part of 200 calls is about 90 KB
MAX_CALLS_A_PART: Final = 200
MAX_PARTS: Final = 10_000
MAX_EVENTS_A_BATCH: Final = 64  # 3 ms of the fold; also how many numbers of a node may be late
MAX_NAME_CHARS: Final = 64  # of a company, a trunk, a dialog
MAX_CALL_ID_CHARS: Final = 512  # RFC 3261 sets no limit, memory does

Count: TypeAlias = Annotated[int, Field(ge=0, le=2**53 - 1)]  # what a JavaScript number can hold
# Any time: a node whose clock says 1970 still knows which calls are up; its times are brought into
# our clock later (livestate.state.nodes.clock_offset).
Millis: TypeAlias = Count
CallId: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_CALL_ID_CHARS)]
ShortName: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
Display: TypeAlias = Annotated[str, Field(max_length=MAX_DISPLAY_CHARS)]
Direction: TypeAlias = Literal["inbound", "outbound", "internal"]
CausedBy: TypeAlias = Literal["caller", "callee", "proxy", "timeout_ringing", "timeout_no_reply"]
Outcome: TypeAlias = Literal[
    "answered", "busy", "no_answer", "no_reply", "canceled", "declined", "unavailable",
    "invalid_number", "congestion", "rejected_local", "failed", "expired", "terminated", "lost",
    "challenged", "redirected",
]  # fmt: skip
# The INVITE is asked for again: with credentials (RFC 3261 §22), a longer session interval (422,
# RFC 4028 §7.4) or a security agreement (494, RFC 3329). So it was no attempt, and it has no CDR.
CHALLENGES: Final = frozenset({401, 407, 422, 494})
# Another source of events may leave the password in; it is neither shown nor stored.
Uri: TypeAlias = Annotated[Display, AfterValidator(without_password)]


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
    """The attributes of one call. All are optional: a broken From header must not hide a call."""

    company_id: ShortName | None = None
    direction: Direction | None = None
    caller: Display | None = Field(default=None, alias="from")
    callee: Display | None = Field(default=None, alias="to")
    from_uri: Uri | None = None
    to_uri: Uri | None = None
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
    # These three stay last: the fold keeps them as one attribute.
    mos: Mos | None = None
    jitter_ms: Jitter | None = None
    loss_pct: Loss | None = None


class Envelope(_Strict):
    """The node that sent a message, and the message's place in that node's gap-free sequence."""

    v: Annotated[int, Field(ge=1, le=1, json_schema_extra={"const": 1})]
    node: NodeName
    epoch: Count
    seq: Count
    ts: Millis


class CallEvent(Envelope, Facts):
    """Something happened to one call. Without ``dialog`` the proxy refused the call: it is never
    live."""

    call_id: CallId
    dialog: ShortName | None = None
    # Of two nodes that replicate their dialogs: the one that the call began at, where ``node``
    # handled this event. The call is identified by (owner, dialog, call_id).
    owner: NodeName | None = None


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
    """The proxy tries the next gateway: ``attempt`` and ``trunk`` are the new ones. If a phone
    rings there, ``ringing`` comes again; ``progress_at`` stays that of the first one."""

    phase: Literal["reroute"]


class Answered(CallEvent):
    """The 2xx to the INVITE."""

    phase: Literal["answered"]


class Hold(CallEvent):
    """An offer and its answer left a side that no longer receives (RFC 6337 §5.3)."""

    phase: Literal["hold"]


class Resume(CallEvent):
    """An offer and its answer after which both sides receive again."""

    phase: Literal["resume"]


class Transfer(CallEvent):
    """A REFER was accepted (RFC 3515)."""

    phase: Literal["transfer"]


class Notice(CallEvent):
    """An event that the node numbered and that changes no state; ``detail`` describes it."""

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


class RefusedCall(NamedTuple):
    """One item of a list that is not a :class:`SyncedCall`: the reason, and as much of the call's
    identity as can be read. The call that it names may well be up."""

    reason: str  # of REJECT_REASONS
    detail: str
    dialog: str | None
    call_id: str | None


class _List(Envelope):
    """A part of a list of dialogs, true at ``seq`` (S0)."""

    sync_id: ShortName
    part: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    parts: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    # Dialogs of the node that no part of this list names, because the node could not give all that
    # an item needs. While there are any, a call that the list lacks may be one of them.
    unlisted: Count | None = None

    _refused: tuple[RefusedCall, ...] = PrivateAttr(default=())

    @property
    def refused(self) -> tuple[RefusedCall, ...]:
        """The items that were refused, each alone; ``calls`` are the others."""
        return self._refused


class Sync(_List):
    """A part of the node's full list of its dialogs."""

    phase: Literal["sync"]
    calls: Annotated[tuple[SyncedCall, ...], Field(max_length=MAX_CALLS_A_PART)]


class CopiedCall(SyncedCall):
    """A dialog of another node, replicated to the one that sends this list."""

    owner: NodeName


class Copies(_List):
    """Dialogs of other nodes that this one holds copies of (Kamailio: ``dmq``), sent behind each
    ``sync``. Events of these calls come from their owners; this list says which node could go on
    with them."""

    phase: Literal["copies"]
    calls: Annotated[tuple[CopiedCall, ...], Field(max_length=MAX_CALLS_A_PART)]


class Lost(Envelope):
    """An instance of livestate closes a call: its node has been silent, or has not sent the list
    that would confirm it, for too long. ``seq`` repeats the last number heard of the node. It
    closes the call only where it is unconfirmed, and later events of the node count more."""

    phase: Literal["lost"]
    call_id: CallId
    dialog: ShortName


CallPhase: TypeAlias = (
    Setup
    | Ringing
    | EarlyMedia
    | Reroute
    | Answered
    | Hold
    | Resume
    | Transfer
    | Notice
    | Ended
    | Failed
)
Event: TypeAlias = Annotated[
    CallPhase | Heartbeat | Sync | Copies | Lost, Field(discriminator="phase")
]
# A message of ``call.events.batch``: events of calls that a bridge read together, in its order,
# each as it would be sent alone.
Batch: TypeAlias = Annotated[
    tuple[Annotated[CallPhase, Field(discriminator="phase")], ...],
    Field(min_length=1, max_length=MAX_EVENTS_A_BATCH),
]
Cdr: TypeAlias = Annotated[Ended | Failed, Field(discriminator="phase")]

LIST_PHASES: Final = ("sync", "copies")  # sent in parts
PHASES: Final[frozenset[str]] = frozenset(
    get_args(model.model_fields["phase"].annotation)[0]
    for model in (*get_args(CallPhase), Heartbeat, Sync, Lost)
)
CALL_PHASES: Final[frozenset[str]] = PHASES - {"heartbeat", "sync", "lost"}
# ``copies`` is not a phase: it does not tell how far a call or its node is.
SUBJECTS: Final[dict[str, str]] = {SUBJECT_PREFIX + one: one for one in (*PHASES, "copies")}
REJECT_REASONS: Final = (
    "unknown_phase", "phase_mismatch", "too_large", "not_json", "duplicate_keys",
    "unsupported_version", "missing_field", "too_long", "out_of_range", "wrong_type",
    "too_many_calls", "too_many_companies", "too_many_nodes", "unproven", "forged_node",
)  # fmt: skip

# One adapter for the life of the process: building one costs 100 × a validation.
EVENT: Final[TypeAdapter[Any]] = TypeAdapter(Event)
CDR: Final[TypeAdapter[Any]] = TypeAdapter(Cdr)
LISTED_ITEM: Final[dict[str, TypeAdapter[Any]]] = {
    "sync": TypeAdapter(SyncedCall),
    "copies": TypeAdapter(CopiedCall),
}
ENVELOPE: Final = TypeAdapter(Envelope)


@cache
def batches() -> TypeAdapter[Any]:
    """The adapter of :data:`Batch`. Made at its first use: it takes 12 ms of a start, and most
    bridges send no batch."""
    return TypeAdapter(Batch)


def contract_schema() -> dict[str, Any]:
    """The contract as JSON Schema (draft 2020-12), as ``livestate schema`` prints it. The schema is
    of one message; ``Batch`` among its definitions is that of ``call.events.batch``."""
    schema = EVENT.json_schema(by_alias=True)
    schema["$defs"]["Batch"] = {
        "description": "Events of calls that a bridge read together, in its order, each as it "
        "would be sent alone. A bridge sends them only where it is told to (`--batch`).",
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_EVENTS_A_BATCH,
        "items": {"oneOf": [{"$ref": f"#/$defs/{one.__name__}"} for one in get_args(CallPhase)]},
    }
    return schema
