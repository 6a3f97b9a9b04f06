"""The attributes of a call: what is known of it besides its identity and its phases.

:mod:`livestate.state.call` makes them from events; whoever shows, counts or stores a call reads
them. Pure.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from livestate.contract.quality import FIGURES
from livestate.contract.states import wire_name
from livestate.state.acyclic import mypyc_attr

# ``mos``, ``jitter_ms`` and ``loss_pct``. A plain tuple: the collector of cycles skips those that
# hold numbers only.
Quality: TypeAlias = tuple[float | None, float | None, float | None]
UNMEASURED: Final[Quality] = (None, None, None)


class Attributes(NamedTuple):
    """What is known of a call besides its state; None is unknown. Times are in ms."""

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
    quality: Quality | None  # one attribute: most calls have none, and it takes a third of three


# The fields that clients, Redis and events know: those of Attributes with each figure of the
# quality as a field of its own. Each figure merges alone, as the other attributes do.
FIELDS: Final = (*Attributes._fields[:-1], *FIGURES)
WIRE_NAMES: Final = tuple(map(wire_name, FIELDS))
_OTHERS: Final = len(Attributes._fields) - 1


def field_values(attributes: Attributes) -> list[Any]:
    """The values of :data:`FIELDS`."""
    return [*attributes[:_OTHERS], *(attributes.quality or UNMEASURED)]


def from_field_values(values: list[Any]) -> Attributes:
    """The attributes that have these values of :data:`FIELDS`."""
    quality = tuple(values[_OTHERS:])
    measured = None if quality == UNMEASURED else quality
    return tuple.__new__(Attributes, [*values[:_OTHERS], measured])


@mypyc_attr(acyclic=True)
class CallFields:
    """Reads the fields of ``attributes`` from the call itself.

    Code that runs for every event reads them from the part: that takes half the time.
    """

    __slots__ = ("attributes",)
    attributes: Attributes

    @property
    def company_id(self) -> str | None:
        return self.attributes.company_id

    @property
    def direction(self) -> str | None:
        return self.attributes.direction

    @property
    def caller(self) -> str | None:
        return self.attributes.caller

    @property
    def callee(self) -> str | None:
        return self.attributes.callee

    @property
    def from_uri(self) -> str | None:
        return self.attributes.from_uri

    @property
    def to_uri(self) -> str | None:
        return self.attributes.to_uri

    @property
    def trunk(self) -> str | None:
        return self.attributes.trunk

    @property
    def attempt(self) -> int | None:
        return self.attributes.attempt

    @property
    def setup_at(self) -> int | None:
        return self.attributes.setup_at

    @property
    def progress_at(self) -> int | None:
        return self.attributes.progress_at

    @property
    def answered_at(self) -> int | None:
        return self.attributes.answered_at

    @property
    def ended_at(self) -> int | None:
        return self.attributes.ended_at

    @property
    def sip_code(self) -> int | None:
        return self.attributes.sip_code

    @property
    def sip_reason(self) -> str | None:
        return self.attributes.sip_reason

    @property
    def by(self) -> str | None:
        return self.attributes.by

    @property
    def outcome(self) -> str | None:
        return self.attributes.outcome

    @property
    def detail(self) -> str | None:
        return self.attributes.detail

    @property
    def quality(self) -> Quality | None:
        return self.attributes.quality
