"""One call and how events fold into it: ``begin(event)``, ``evolve(call, event)``.

A call is folded, never commanded. What may follow what is :data:`TRANSITIONS`, and nothing else:
the diagram in ``docs/call-states.md`` is drawn from it.

Order comes from the node's own numbers (``epoch``, ``seq``), never from clocks or arrival. To be
the same call after any permutation, duplication or loss of its events, a call keeps two things:

* its **marks**: for each phase the latest event of that phase (for a terminal phase the first).
  Eleven phases bound it however many events there were. The state is the walk of the table
  over the marks in the order of their stamps.
* its **facts**: for each field the value from the latest event that carried it. Events are
  cumulative, so nearly all fields come from the latest event; ``older`` names the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from livestate.events import CallPhase, SyncedCall

State: TypeAlias = Literal["trying", "ringing", "early", "answered", "held", "ended", "failed"]
Phase: TypeAlias = Literal[
    "setup", "ringing", "early_media", "reroute", "answered", "hold", "resume", "transfer",
    "notice", "ended", "failed", "lost",
]  # fmt: skip
Stamp: TypeAlias = int  # position in a node's numbering: epoch, seq, and 1 for a list taken at seq

# state → phase → state. A call nobody has seen is "trying". A missing pair leaves the state as it
# is: the event is late, repeated, or a user agent's mistake, and is counted as irregular.
TRANSITIONS: Final[Mapping[State, Mapping[Phase, State]]] = MappingProxyType({
    "trying": {
        "setup": "trying", "ringing": "ringing", "early_media": "early", "reroute": "trying",
        "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
        "notice": "trying", "ended": "ended", "failed": "failed", "lost": "failed",
    },
    "ringing": {
        "ringing": "ringing", "early_media": "early", "reroute": "trying",
        "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
        "notice": "ringing", "ended": "ended", "failed": "failed", "lost": "failed",
    },
    "early": {
        "ringing": "ringing", "early_media": "early", "reroute": "trying",
        "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
        "notice": "early", "ended": "ended", "failed": "failed", "lost": "failed",
    },
    "answered": {
        "answered": "answered", "hold": "held", "resume": "answered", "transfer": "answered",
        "notice": "answered", "ended": "ended", "failed": "ended", "lost": "ended",
    },
    "held": {
        "hold": "held", "resume": "answered", "transfer": "held", "notice": "held",
        "ended": "ended", "failed": "ended", "lost": "ended",
    },
    "ended": {"notice": "ended"},
    "failed": {"notice": "failed"},
})  # fmt: skip
PHASES: Final[frozenset[str]] = frozenset(get_args(Phase))
LIVE_STATES: Final = frozenset({"trying", "ringing", "early", "answered", "held"})
_BEFORE_ANSWER: Final = frozenset({"trying", "ringing", "early"})
_FINAL: Final = frozenset({"ended", "failed"})
_FIRST_COUNTS: Final = _FINAL | {"answered"}  # what comes again later, or late, was not it
_ALWAYS_COUNT: Final = _FINAL | {"hold", "resume"}

# Facts in the order in which a Call holds them, behind its other fields.
FACTS: Final = (
    "company_id", "direction", "caller", "callee", "from_uri", "to_uri", "trunk", "attempt",
    "setup_at", "progress_at", "answered_at", "ended_at", "sip_code", "sip_reason", "by",
    "outcome", "detail",
)  # fmt: skip
_facts_of = itemgetter(*FACTS)


class Mark(NamedTuple):
    """The event of a phase that counts: its place in the node's order and when it was (ms)."""

    stamp: Stamp
    phase: Phase
    at: int


class Call(NamedTuple):
    """A call as its events make it. A tuple, because tens of thousands change in a second."""

    key: str
    node: str
    dialog: str
    call_id: str
    state: State
    stamp: Stamp
    marks: tuple[Mark, ...]
    older: Mapping[str, Stamp] | None
    unconfirmed: bool | None  # None: never was; a client that saw True must be told False
    company_id: str | None
    direction: str | None
    caller: str | None
    callee: str | None
    from_uri: str | None
    to_uri: str | None
    trunk: str | None
    attempt: int | None
    setup_at: int | None
    progress_at: int | None
    answered_at: int | None
    ended_at: int | None
    sip_code: int | None
    sip_reason: str | None
    by: str | None
    outcome: str | None
    detail: str | None

    @property
    def live(self) -> bool:
        return self.state not in _FINAL

    @property
    def lost(self) -> bool:
        """Gone from its node's list, and nobody said how it ended."""
        if self.state not in _FINAL or self.marks[-1].phase in _FINAL:
            return False
        return all(mark.phase not in _FINAL for mark in self.marks)

    @property
    def conclusion(self) -> str:
        """The outcome of a call that is over, also where its node did not state one."""
        if self.outcome is not None:
            return self.outcome
        return "lost" if self.lost else "answered" if self.state == "ended" else "failed"

    @property
    def over_at(self) -> int:
        """When a call that is over ended, or was found to be over (ms)."""
        return self.marks[-1].at if self.ended_at is None else self.ended_at


# What Call(…) and Mark(…) do, without their arguments being passed twice: 0.5 µs a call.
_new: Final = tuple.__new__
_HEAD: Final = len(Call._fields) - len(FACTS)
_VISIBLE: Final = Call._fields.index("unconfirmed")  # from there on, beside the state


def stamp_of(epoch: int, seq: int, listed: bool = False) -> Stamp:
    """A node's position as one number; a list taken at ``seq`` comes after the event ``seq``."""
    return epoch << 54 | seq << 1 | listed


def begin(key: str, event: CallPhase) -> Call:
    """The call that this event alone tells of: its first one, or one from the middle."""
    stamp = event.epoch << 54 | event.seq << 1
    mark = _new(Mark, (stamp, event.phase, event.ts))
    identity = (key, event.node, event.dialog or "", event.call_id)
    return refold(identity, stamp, (mark,), None, None, _facts_of(event.__dict__))


def evolve(call: Call, event: CallPhase, state_counts: bool = True) -> Call:
    """``call`` and one more of its events, however late or often it comes.

    ``state_counts`` False adds facts only: the node's own list, taken later, has the last word
    on the state. A terminal event counts always, for a call cannot un-end; and so do a hold and
    its end, which some lists cannot tell of.
    Returns the same object if the event tells nothing new.
    """
    stamp = event.epoch << 54 | event.seq << 1
    marks = call.marks
    if state_counts or event.phase in _ALWAYS_COUNT:
        marks = _with_mark(marks, _new(Mark, (stamp, event.phase, event.ts)))
    return _merged(call, stamp, marks, _facts_of(event.__dict__))


def begin_listed(key: str, node: str, item: SyncedCall, stamp: Stamp, at: int) -> Call:
    """A call first seen in its node's list of dialogs."""
    mark = Mark(stamp, _PHASE_OF_LISTED[item.state], at)
    identity = (key, node, item.dialog, item.call_id)
    return refold(identity, stamp, (mark,), None, None, _facts_of(item.__dict__))


def confirm(call: Call, item: SyncedCall, stamp: Stamp, at: int) -> Call:
    """``call`` as its node's list says it is. The same object if the list tells nothing new.

    A list knows less than events do: it adds what was missed, and takes back a hold only where
    it can tell (``held`` is False). It never brings an ended call back.
    """
    facts = _facts_of(item.__dict__)
    if stamp < call.stamp:  # events after the list are newer than the list
        return _merged(call, stamp, call.marks, facts)
    if call.unconfirmed:
        call = _marked(call, False)
    if call.lost:  # by a list before this one
        marks = tuple(mark for mark in call.marks if mark.phase != "lost")
        call = refold(call[:4], call.stamp, marks, call.older, _sure(call), call[_HEAD:])
    phase: Phase | None = None
    if item.state == "held" and call.state != "held":
        phase = _PHASE_OF_LISTED[item.state]
    elif item.state == "answered" and call.state == "held" and item.held is False:
        phase = "resume"
    elif call.state in _BEFORE_ANSWER and item.state != call.state:
        # Back to trying is what a re-route does.
        phase = "reroute" if item.state == "trying" else _PHASE_OF_LISTED[item.state]
    if phase is not None:
        return _merged(call, stamp, _with_mark(call.marks, Mark(stamp, phase, at)), facts)
    if facts == (known := call[_HEAD:]) or _laid_into(known, facts) == known:
        return call
    return _merged(call, stamp, call.marks, facts)


def lose(call: Call, stamp: Stamp, at: int) -> Call:
    """``call`` without its end: the node's list, taken at ``stamp``, no longer has it.

    A real end may still tell more, and an event numbered after the list shows that it lives.
    """
    marks = _with_mark(call.marks, Mark(stamp, "lost", at))
    return refold(call[:4], call.stamp, marks, call.older, _sure(call), call[_HEAD:])


def unconfirm(call: Call) -> Call:
    """``call`` while its node has restarted, or we have: shown, but marked as not sure."""
    return call if call.unconfirmed else _marked(call, True)


def _marked(call: Call, unconfirmed: bool) -> Call:
    # ``call._replace`` costs ten times this, and a restart of ours marks all calls twice.
    return _new(Call, (*call[:_VISIBLE], unconfirmed, *call[_HEAD:]))


def _sure(call: Call) -> bool | None:
    return None if call.unconfirmed is None else False


def looks_the_same(before: Call, after: Call) -> bool:
    """Whether people see no difference: one in stamps and marks only."""
    return before.state == after.state and before[_VISIBLE:] == after[_VISIBLE:]


_PHASE_OF_LISTED: Final[Mapping[str, Phase]] = {
    "trying": "setup", "ringing": "ringing", "early": "early_media", "answered": "answered",
    "held": "hold",
}  # fmt: skip


def _with_mark(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    for index, known in enumerate(marks):
        if known.phase == mark.phase:
            # The last hold counts, but the first end: a call ends once.
            newer = mark.stamp > known.stamp
            if mark.stamp == known.stamp or newer == (mark.phase in _FIRST_COUNTS):
                return marks
            marks = marks[:index] + marks[index + 1 :]
            break
    if not marks or marks[-1].stamp < mark.stamp:
        return (*marks, mark)
    return tuple(sorted((*marks, mark)))


def _merged(call: Call, stamp: Stamp, marks: tuple[Mark, ...], facts: tuple[Any, ...]) -> Call:
    """``facts`` of an event at ``stamp`` laid into ``call``: for each field the latest wins."""
    known = call[_HEAD:]
    if stamp > call.stamp:
        merged = _laid_into(known, facts)
        older = None
        if merged != facts:  # rare, for events are cumulative: some fields stay from before
            before = call.older or {}
            older = {
                name: before.get(name, call.stamp)
                for name, new, old in zip(FACTS, facts, known, strict=True)
                if new is None and old is not None
            }
        return refold(call[:4], stamp, marks, older, _sure(call), merged)
    return _merged_late(call, stamp, marks, facts)


def _laid_into(known: tuple[Any, ...], facts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([old if new is None else new for new, old in zip(facts, known, strict=True)])


def _merged_late(call: Call, stamp: Stamp, marks: tuple[Mark, ...], facts: tuple[Any, ...]) -> Call:
    known = call[_HEAD:]
    older = dict(call.older) if call.older else {}
    merged = list(known)
    for index, (name, new, old) in enumerate(zip(FACTS, facts, known, strict=True)):
        if new is not None and (old is None or stamp > older.get(name, call.stamp)):
            merged[index] = new
            older[name] = stamp
    if marks is call.marks and older == (call.older or {}):
        return call
    return refold(call[:4], call.stamp, marks, older or None, call.unconfirmed, tuple(merged))


def refold(
    identity: tuple[str, str, str, str], stamp: Stamp, marks: tuple[Mark, ...],
    older: Mapping[str, Stamp] | None, unconfirmed: bool | None, facts: tuple[Any, ...],
) -> Call:  # fmt: skip
    """The call that these marks and facts make. Its state is concluded here, nowhere else.

    ``identity`` is (key, node, dialog, call_id); ``facts`` are in the order of :data:`FACTS`.
    """
    state: State = "trying"
    last = len(marks) - 1
    for index, mark in enumerate(marks):
        if mark.phase == "lost" and index < last:
            continue  # something was numbered after it: the call was not lost
        state = TRANSITIONS[state].get(mark.phase, state)
    if state in _UNLESS_FACTS:
        state = _by_facts(state, marks, facts)
    return _new(Call, (*identity, state, stamp, marks, older, unconfirmed, *facts))


_ATTEMPT, _PROGRESS, _ANSWERED = map(FACTS.index, ("attempt", "progress_at", "answered_at"))
_UNLESS_FACTS: Final = _BEFORE_ANSWER | {"failed"}


def _by_facts(state: State, marks: tuple[Mark, ...], facts: tuple[Any, ...]) -> State:
    """A call whose only event left says when it was answered, was answered."""
    if facts[_ANSWERED] is not None:
        return "ended" if state == "failed" else "answered"
    if (
        state == "trying"
        and facts[_PROGRESS] is not None
        and (facts[_ATTEMPT] or 1) == 1  # else it may be the progress of the attempt before
        and all(mark.phase != "reroute" for mark in marks)
    ):
        return "ringing"
    return state
