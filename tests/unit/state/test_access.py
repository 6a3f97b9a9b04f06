"""Scopes: filters narrow what a token allows, and never widen it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestate.contract.states import LIVE_STATES
from livestate.state.access import (
    Forbidden,
    Identity,
    Scope,
    UnknownFilter,
    identity_from_claims,
    scope_for,
)

COMPANIES = st.sampled_from(["101", "0101", "102", " 101", "*", "a" * 64])
STATES = st.sampled_from(sorted(LIVE_STATES))
TRUNKS = st.sampled_from(["gw-a", "gw-b", "GW-A"])


NO_ROLES = ["Admin", "admin ", " admin", "ADMIN", "", "root", "noc\0", "аdmin", None, True, 1,
            ["admin"], {"admin": 1}, ("admin",), b"admin"]  # fmt: skip
NO_COMPANIES = [None, "", 101, 101.0, True, ["101"], {"id": "101"}, b"101", "1" * 65]


@pytest.mark.parametrize("role", NO_ROLES)
def test_what_is_not_exactly_a_role_sees_nothing(role: object) -> None:
    with pytest.raises(Forbidden):
        identity_from_claims({"role": role, "company_id": "101", "exp": 9e9})


def test_claims_without_a_role_see_nothing() -> None:
    with pytest.raises(Forbidden):
        identity_from_claims({"Role": "admin", "company_id": "101", "exp": 9e9})


@pytest.mark.parametrize("company", NO_COMPANIES)
def test_a_user_without_a_company_sees_nothing(company: object) -> None:
    for claims in ({"company_id": company}, {"company": "101"}):
        with pytest.raises(Forbidden):
            identity_from_claims({"role": "user", "exp": 9e9, **claims})


@pytest.mark.parametrize("company", [101, 101.0])
def test_a_company_that_is_a_number_is_named_in_the_refusal(company: float) -> None:
    with pytest.raises(Forbidden) as refused:
        identity_from_claims({"role": "user", "exp": 9e9, "company_id": company})
    assert '("101")' in refused.value.reason


@pytest.mark.parametrize("role", ["admin", "operator", "noc"])
@pytest.mark.parametrize("company", ["101", *NO_COMPANIES])
def test_a_company_claim_does_not_narrow_all_calls_roles(role: str, company: object) -> None:
    identity = identity_from_claims({"role": role, "company_id": company, "exp": 9e9})
    assert scope_for(identity) == Scope()
    assert scope_for(identity, company_id="102") == Scope("102")


@pytest.mark.parametrize(("jti", "token_id"), [("t-1", "t-1"), (7, None), (["t"], None)])
def test_an_identity_keeps_a_token_id_that_is_text(jti: object, token_id: str | None) -> None:
    assert identity_from_claims({"role": "noc", "exp": 9e9, "jti": jti}).token_id == token_id


@dataclass(frozen=True)
class Seen:
    company_id: str | None
    state: str
    trunk: str | None


@st.composite
def identities(draw: st.DrawFn) -> Identity:
    role = draw(st.sampled_from(["admin", "operator", "noc", "user"]))
    claims = {"role": role, "exp": 9e9, "company_id": draw(COMPANIES)}
    return identity_from_claims(claims)


@given(
    identities(), st.none() | COMPANIES, st.lists(STATES, max_size=5), st.lists(TRUNKS, max_size=3),
    st.builds(Seen, st.none() | COMPANIES, STATES, st.none() | TRUNKS),
)  # fmt: skip
def test_no_wish_shows_more_than_the_token_allows(
    identity: Identity, company: str | None, states: list[str], trunks: list[str], call: Seen
) -> None:
    allowed = scope_for(identity)
    asked = scope_for(identity, company_id=company, states=states, trunks=trunks)
    if asked.admits(call):
        assert allowed.admits(call)
        assert not states or call.state in states
        assert not trunks or call.trunk in trunks
    if not identity.sees_all:
        assert asked.company_id == identity.company_id
        assert not asked.admits(Seen(None, "ringing", None))


def test_a_company_is_matched_to_the_letter() -> None:
    scope = Scope("101")
    for other in ("0101", "101 ", "1", "1010", None, "１０１"):
        assert not scope.admits(Seen(other, "ringing", None))


@pytest.mark.parametrize(
    ("wish", "word"),
    [({"states": ["ended"]}, "ended"), ({"states": ["x" * 999]}, "x"),
     ({"trunks": [""]}, "trunks"), ({"trunks": [str(n) for n in range(21)]}, "20"),
     ({"trunks": ["gw-a", "x" * 65]}, "64"), ({"company_id": "x" * 65}, "64"),
     ({"company_id": ""}, "company_id")],
)  # fmt: skip
def test_a_wish_that_no_call_can_meet_is_refused(wish: dict[str, object], word: str) -> None:
    noc = identity_from_claims({"role": "noc", "exp": 9e9})
    with pytest.raises(UnknownFilter) as refused:
        scope_for(noc, **wish)  # type: ignore[arg-type]
    assert word in refused.value.reason
    assert len(refused.value.reason) < 200


def test_all_states_are_no_filter() -> None:
    noc = identity_from_claims({"role": "noc", "exp": 9e9})
    assert scope_for(noc, states=LIVE_STATES) == Scope()


@pytest.mark.parametrize("length", [1, 64])
def test_filters_take_the_lengths_that_events_may_have(length: int) -> None:
    noc = identity_from_claims({"role": "noc", "exp": 9e9})
    names = [f"{n:x}".rjust(length, "x")[-length:] for n in range(16)]
    names += [other.rjust(length, "x") for other in "wyz-"]
    assert scope_for(noc, company_id=names[0], trunks=names) == Scope(
        names[0], trunks=frozenset(names)
    )
    assert len(set(names)) == 20, "as many as a filter may name"
