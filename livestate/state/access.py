"""Access to calls: roles, identities, and the scope of a stream.

``api/auth/verifier.py`` verifies a token and passes its claims to :func:`identity_from_claims`; the
stream and the snapshot routes pass the identity and the wanted filters to :func:`scope_for`. It
fails closed: a claim that is not exactly right raises :class:`Forbidden`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

from livestate.contract.errors import LivestateError
from livestate.contract.states import LIVE_STATES

# Each role may see what the later ones see: of several in a token the first one here counts.
Role: TypeAlias = Literal["admin", "operator", "noc", "user"]
BY_RIGHTS: Final[tuple[Role, ...]] = get_args(Role)
ROLES: Final[frozenset[str]] = frozenset(BY_RIGHTS)
# All other roles see the calls of their own company only.
SEES_ALL: Final[frozenset[str]] = frozenset({"admin", "operator", "noc"})
MAX_FILTER_VALUES: Final = 20


class Forbidden(LivestateError):
    """The token is good, but its claims give no right to see calls; ``reason`` is safe to show."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownFilter(LivestateError):
    """A filter value that no call can have; ``reason`` names it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Scoped(Protocol):
    """The parts of a call that a scope compares."""

    @property
    def company_id(self) -> str | None: ...
    @property
    def state(self) -> str: ...
    @property
    def trunk(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """The calls that a stream shows. ``company_id`` None is every call, also those without a
    company; empty ``states`` or ``trunks`` do not narrow it."""

    company_id: str | None = None
    states: frozenset[str] = frozenset()
    trunks: frozenset[str] = frozenset()

    @property
    def filtered(self) -> bool:
        return bool(self.states or self.trunks)

    @property
    def base(self) -> Scope:
        """The same without filters: all that the identity may see."""
        return replace(self, states=frozenset(), trunks=frozenset()) if self.filtered else self

    def admits(self, call: Scoped) -> bool:
        """Exact matches only: "101" is not "0101", and a call without a company belongs to none."""
        return (
            (self.company_id is None or call.company_id == self.company_id)
            and (not self.states or call.state in self.states)
            and (not self.trunks or call.trunk in self.trunks)
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """The owner of a verified token. ``expires_at`` is in seconds since the Unix epoch."""

    subject: str
    role: Role
    company_id: str | None
    expires_at: float
    token_id: str | None = None
    login: bytes = b""  # identifies this login among all others
    session: bool = False  # of a browser that logged in at the identity provider

    @property
    def sees_all(self) -> bool:
        return self.role in SEES_ALL


def identity_from_claims(
    claims: Mapping[str, Any], *, role_claim: str = "role", company_claim: str = "company_id"
) -> Identity:
    """The identity that verified claims describe.

    Raises :class:`Forbidden` unless the role is exactly one of :data:`ROLES`, a string, and a
    plain user has a company. ``Admin``, ``"admin "`` and ``["admin"]`` are no roles.
    """
    role = claims.get(role_claim)
    if not isinstance(role, str) or role not in ROLES:
        raise Forbidden(f"the claim {role_claim!r} is not one of {', '.join(sorted(ROLES))}")
    company = claims.get(company_claim)
    if role not in SEES_ALL and isinstance(company, int | float) and not isinstance(company, bool):
        # 101 may be written "101" or "0101": the identity provider has to say which company it is.
        raise Forbidden(
            f"the claim {company_claim!r} is a number: let the identity provider "
            f'write it as text, as the events do ("{company:.20g}")'
        )
    own_company = role not in SEES_ALL
    if own_company and not (isinstance(company, str) and 0 < len(company) <= 64):
        raise Forbidden(
            f"the role {role!r} needs the claim {company_claim!r}, a string of 1 to 64 characters"
        )
    token_id = claims.get("jti")
    return Identity(
        subject=str(claims.get("sub", "")),
        role=role,  # type: ignore[arg-type]  # checked against ROLES
        company_id=company if own_company else None,
        expires_at=float(claims["exp"]),
        token_id=token_id if isinstance(token_id, str) else None,
    )


def scope_for(
    identity: Identity,
    *,
    company_id: str | None = None,
    states: Iterable[str] = (),
    trunks: Iterable[str] = (),
) -> Scope:
    """The scope of an identity, narrowed by the filters of the request, never widened.

    A plain user's scope is the company of the token, whatever ``company_id`` asks for. Raises
    :class:`UnknownFilter` for a state that does not exist.
    """
    wanted, through = frozenset(states), frozenset(trunks)
    unknown = sorted(wanted - LIVE_STATES)
    if unknown:
        raise UnknownFilter(
            f"no live state is called {unknown[0][:40]!r}; "
            f"there are {', '.join(sorted(LIVE_STATES))}"
        )
    if len(through) > MAX_FILTER_VALUES or any(not 0 < len(name) <= 64 for name in through):
        raise UnknownFilter(f"at most {MAX_FILTER_VALUES} trunks of 1 to 64 characters each")
    if company_id is not None and not 0 < len(company_id) <= 64:
        raise UnknownFilter("company_id is a string of 1 to 64 characters")
    own = company_id if identity.sees_all else identity.company_id
    if wanted == LIVE_STATES:
        wanted = frozenset()
    return Scope(company_id=own, states=wanted, trunks=through)
