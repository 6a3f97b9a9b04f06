"""Roles and companies where identity providers put them."""

from __future__ import annotations

from typing import Any

import pytest

from api.auth.claim_paths import ClaimRules, parse_path, parse_role_map, value_at
from livestate.state.access import Forbidden

BASE = {"sub": "ann", "exp": 2_000_000_000}
# Access tokens as the providers make them, shortened: claims, settings, and what they give.
PROVIDERS: dict[str, tuple[dict[str, Any], ClaimRules, tuple[str, str | None]]] = {
    "Keycloak": (
        {"typ": "Bearer", "azp": "livestate", "nonce": "n-1", "sid": "5e", "scope": "openid",
         "realm_access": {"roles": ["offline_access", "noc", "default-roles-x"]}},
        ClaimRules("realm_access.roles"), ("noc", None),
    ),
    "Keycloak, roles of the client": (
        {"resource_access": {"livestate.web": {"roles": ["viewer"]}}, "tenant": {"id": "0101"}},
        ClaimRules(r"resource_access.livestate\.web.roles", "tenant.id", {"viewer": "user"}),
        ("user", "0101"),
    ),
    "Entra": (
        {"ver": "2.0", "tid": "9188040d", "oid": "00-1", "roles": ["noc-team", "Everyone"]},
        ClaimRules("roles[]", role_map={"noc-team": "noc", "boss": "admin"}), ("noc", None),
    ),
    "Okta": (
        {"cid": "0oa1", "uid": "00u1", "groups": ["Everyone", "customers", "c-7"], "company": "7"},
        ClaimRules("groups[]", "company", {"customers": "user"}), ("user", "7"),
    ),
    "Cognito": (
        {"token_use": "access", "cognito:groups": ["operators", "admins"], "client_id": "x"},
        ClaimRules("cognito:groups[]", role_map={"admins": "admin", "operators": "operator"}),
        ("admin", None),
    ),
    "Auth0": (
        {"https://noc.example/role": "user", "https://noc.example/company_id": "101"},
        ClaimRules("https://noc.example/role", "https://noc.example/company_id"), ("user", "101"),
    ),
    "a name with a dot": ({"x.role": "noc"}, ClaimRules("x.role"), ("noc", None)),
}  # fmt: skip


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_token_of_a_provider_gives_its_role(provider: str) -> None:
    claims, rules, (role, company) = PROVIDERS[provider]
    identity = rules.identity(BASE | claims)
    assert (identity.role, identity.company_id) == (role, company)


@pytest.mark.parametrize(
    ("claims", "rules", "reason"),
    [
        ({"role": ["noc"]}, ClaimRules(), r"is a list: write its path as 'role\[\]'"),
        ({"a": {"b": "nobody"}}, ClaimRules("a.b"), "is not one of admin, noc, operator, user"),
        ({"a": "noc"}, ClaimRules("a.b"), "is not one of"),
        ({"roles": ["noc"]}, ClaimRules("roles[]", role_map={"x": "noc"}), "is not one of x"),
        ({"roles": [["noc"], {"noc": 1}, None, 7]}, ClaimRules("roles[]"), "is not one of"),
        ({"roles": []}, ClaimRules("roles[]"), "is not one of"),
        ({"role": {"noc": {}}}, ClaimRules(), "is not one of"),
        ({"role": "user", "c": ["1"]}, ClaimRules("role", "c"), "is a list: a login sees exactly"),
        ({"role": "user", "c": 101}, ClaimRules("role", "c"), "is a number"),
        ({"role": "user", "c": {"id": "1"}}, ClaimRules("role", "c"), "needs the claim 'c'"),
        ({"role": "user"}, ClaimRules("role", "a.b.c"), "needs the claim 'a.b.c'"),
    ],
)  # fmt: skip
def test_what_is_no_role_is_refused_with_a_reason(
    claims: dict[str, Any], rules: ClaimRules, reason: str
) -> None:
    with pytest.raises(Forbidden, match=reason):
        rules.identity(BASE | claims)


def test_a_claim_of_the_whole_name_comes_before_a_nested_one() -> None:
    assert value_at({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert value_at({"a": {"b": 2}}, "a.b") == 2
    assert value_at({"https://x": {"y/role": 1}}, "https://x.y/role") is None


@pytest.mark.parametrize("wrong", ["", "[]", ".a", "a.", "a..b", "a[].b"])
def test_a_path_that_leads_nowhere_is_a_wrong_setting(wrong: str) -> None:
    with pytest.raises(ValueError, match="such as role"):
        parse_path(wrong)


@pytest.mark.parametrize("wrong", ["noc", "=noc", "a=boss", "a=noc,a=user", "a=noc,,b=user", "a="])
def test_a_wrong_map_of_roles_is_a_wrong_setting(wrong: str) -> None:
    with pytest.raises(ValueError, match="such as noc-team=noc"):
        parse_role_map(wrong)


def test_a_map_of_roles_takes_names_with_an_equals_sign() -> None:
    assert parse_role_map("CN=noc=noc, b=user") == {"CN=noc": "noc", "b": "user"}
