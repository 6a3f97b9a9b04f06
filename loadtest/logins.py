"""The logins of the users: minted with the demo key, or read from a file of tokens.

A file has one login a line: a token, and behind it the company whose calls it may see; without a
company it sees all calls.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from api.auth import demo_key

COMPANY_KIND = "CompanyDashboard"  # the only kind of user that sees one company


class Login(NamedTuple):
    """A token, and the company whose calls it sees; None: all calls."""

    token: str
    company_id: str | None = None


class Logins(Protocol):
    """Gives each user a login. ``number`` counts users of this process."""

    def of(self, role: str, number: int) -> Login: ...


class Minted:
    """Each user has a login of its own, signed with the demo key in the directory ``keys``."""

    def __init__(self, keys: Path, companies: int) -> None:
        self._keys, self._companies = keys, companies

    def of(self, role: str, number: int) -> Login:
        company = str(101 + number % self._companies) if role == "user" else None
        subject = f"load-{os.getpid()}-{number}"
        return Login(demo_key.mint(self._keys, role, company_id=company, subject=subject), company)


class Listed:
    """Users take turns with the logins of a file."""

    def __init__(self, path: Path) -> None:
        self.logins = read(path)

    def of(self, role: str, number: int) -> Login:
        fitting = [one for one in self.logins if (one.company_id is not None) == (role == "user")]
        return fitting[number % len(fitting)]

    def mix(self, mix: Mapping[str, int]) -> dict[str, int]:
        """The kinds of users of a profile for which there is a login."""
        companies = {one.company_id is not None for one in self.logins}
        return {kind: n for kind, n in mix.items() if (kind == COMPANY_KIND) in companies}


def read(path: Path) -> list[Login]:
    """The logins in a file. Raises ValueError, which names the line and never a token."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2 or words[0].count(".") != 2:
            raise ValueError(f"{path}, line {number}: not `TOKEN` or `TOKEN COMPANY`")
        found.append(Login(*words))
    if not found:
        raise ValueError(f"{path} holds no token")
    return found
