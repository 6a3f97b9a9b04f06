"""Reads role and company from verified claims, at configurable paths.

``Verifier`` and ``Sessions`` call :meth:`ClaimRules.identity` with claims whose signature was
checked. A path names a claim: ``role``, ``realm_access.roles`` (Keycloak), ``roles[]`` (Entra),
``cognito:groups[]`` (Cognito), ``https://noc.example/role`` (Auth0). Fails closed: whatever does
not lead to exactly one of our roles is :class:`~livestate.state.access.Forbidden`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from livestate.state.access import (
    BY_RIGHTS,
    ROLES,
    SEES_ALL,
    Forbidden,
    Identity,
    identity_from_claims,
)

_STEP: Final = re.compile(r"(?:[^.\\]|\\.)+")  # "\." is a dot in a name
LIST_SIGN: Final = "[]"


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """Where the role and the company are. ``role_map`` gives the provider's names of roles; where
    it is empty, the provider uses ours."""

    role_path: str = "role"
    company_path: str = "company_id"
    role_map: Mapping[str, str] = field(default_factory=dict)

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """The identity that verified claims give. Raises Forbidden."""
        role = self._role(value_at(claims, self.role_path))
        company = value_at(claims, self.company_path)
        if role not in SEES_ALL and isinstance(company, list):
            raise Forbidden(
                f"the claim {self.company_path!r} is a list: a login sees exactly one company, so "
                "let the identity provider write one, as text"
            )
        return identity_from_claims(
            {**claims, self.role_path: role, self.company_path: company},
            role_claim=self.role_path,
            company_claim=self.company_path,
        )

    def _role(self, value: object) -> str:
        listed = self.role_path.endswith(LIST_SIGN) or len(steps(self.role_path)) > 1
        if isinstance(value, list) and not listed:
            raise Forbidden(
                f"the claim {self.role_path!r} is a list: write its path as "
                f"{self.role_path + LIST_SIGN!r}"
            )
        names = value if isinstance(value, list) else [value]
        known = self.role_map or {role: role for role in ROLES}
        found = {known[name] for name in names if isinstance(name, str) and name in known}
        for role in BY_RIGHTS:
            if role in found:
                return role
        raise Forbidden(f"the claim {self.role_path!r} is not one of {', '.join(sorted(known))}")


def steps(path: str) -> list[str]:
    """The names on the way to a claim. An address is one name: Auth0 demands such names."""
    plain = path.removesuffix(LIST_SIGN)
    if "://" in plain:
        return [plain]
    return [re.sub(r"\\(.)", r"\1", step) for step in _STEP.findall(plain)]


def value_at(claims: Mapping[str, Any], path: str) -> Any:
    """The value at a path; None where there is none. A claim whose name is the whole path comes
    before a nested one."""
    plain = path.removesuffix(LIST_SIGN)
    if plain in claims:
        return claims[plain]
    found: Any = claims
    for step in steps(path):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def parse_path(text: str) -> str:
    """A path as a setting. Raises ValueError."""
    plain = text.removesuffix(LIST_SIGN)
    if not plain or LIST_SIGN in plain or (plain[0] == "." or plain[-1] == "." or ".." in plain):
        raise ValueError("a claim such as role, realm_access.roles, roles[] or https://…/role")
    return text


def parse_role_map(text: str) -> dict[str, str]:
    """``noc-team=noc,admins=admin`` as a setting. Raises ValueError."""
    found: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, role = pair.strip().rpartition("=")
        if not equals or not name or role not in ROLES or name in found:
            raise ValueError(
                f"names of the provider with a role of ours each ({', '.join(BY_RIGHTS)}), "
                "such as noc-team=noc,admins=admin"
            )
        found[name] = role
    return found
