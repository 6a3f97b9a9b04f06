"""``livestate doctor``: checks the configuration and says how to correct it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

import click

from api.auth.demo_key import ISSUER, is_demo
from api.auth.keys import KeySet
from api.auth.revocation import Revocations, RevocationsUnreadable
from api.auth.startup_check import plain_http
from api.cli.addresses import address_finding
from api.cli.engine_survey import engine
from api.cli.finding import Finding
from api.cli.identity_provider import provider
from api.cli.nats import reached, stream
from api.cli.node_messages import LISTEN_SECONDS, NodeMessages
from api.cli.node_survey import Hearsay
from api.cli.redis import redis
from api.cli.running import running
from api.cli.terminal import plain
from api.environment import SettingsError, from_environment
from api.http.address import on_loopback
from api.settings import Settings
from livestate.contract.subjects import Subjects
from livestate.nats.connection import AWAY
from livestate.nats.jetstream import streams_for
from livestate.nats.session import Session
from livestate.process.masking import masked

_MARKS: Final = {"good": ("✓", "green"), "odd": ("!", "yellow"), "bad": ("✗", "red")}


@click.command()
def doctor() -> None:
    """Check this configuration, and say how to correct it.

    Looks at the settings of the environment, at NATS (and whether nodes speak), Redis, a livestate
    that runs with these settings, the keys of logins and the addresses. Exits with 1 if something
    cannot work.
    """
    sys.exit(asyncio.run(tell(findings())))


async def tell(found: AsyncIterator[Finding]) -> int:
    """Print each finding as it is made; returns the exit code."""
    bad = 0
    async for finding in found:
        sign, colour = _MARKS[finding.verdict]
        # Texts of libraries and servers may contain a password or escape sequences.
        click.echo(f"{click.style(sign, fg=colour)} {plain(masked(finding.what))}")
        if finding.mend:
            click.echo(f"    {plain(masked(finding.mend))}")
        bad += finding.verdict == "bad"
    click.echo(f"{bad} problem{'s' * (bad != 1)} to correct" if bad else "no problems found")
    return int(bad > 0)


async def findings() -> AsyncIterator[Finding]:
    """All findings, in order."""
    try:
        settings, warnings = from_environment(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("bad", problem, "see `livestate serve --help` for all settings")
        return
    for warning in warnings:
        yield Finding("odd", warning, "an unknown name has no effect")
    if not warnings:
        yield Finding("good", "the settings are valid")
    async for finding in _nats(settings):
        yield finding
    async for finding in redis(settings):
        yield finding
    for finding in await running(settings):
        yield finding
    yield await _keys(settings)
    if settings.oidc_issuer is not None:
        yield await provider(settings.oidc_issuer, settings)
    yield await _revocations(settings)
    if (why := plain_http(settings.bind, settings.public_url)) is not None:
        yield Finding("odd", "browsers may be unable to log in", why)
    for name, address in (("BIND", settings.bind), ("ADMIN_BIND", settings.admin_bind)):
        yield address_finding(name, address)


async def _nats(settings: Settings) -> AsyncIterator[Finding]:
    where = f"NATS at {masked(settings.nats_url)}"
    errors: list[Exception] = []
    session, refused = await reached(
        settings.nats_url, settings.nats_creds, settings.nats_inbox, errors
    )
    for finding in refused:
        yield finding
    if session is None:
        return
    try:
        if settings.role == "edge":  # it hears no node, and may not
            yield await engine(session, where, errors)
            return
        heard = Hearsay()
        subjects = Subjects(settings.nats_subject)
        yield await _nodes(session, where, errors, heard, subjects)
        for remark in heard.remarks():
            yield Finding("bad" if remark.bad else "odd", f"{where}: {remark.what}", remark.mend)
        for wanted in streams_for(subjects.cdrs):
            found = await stream(session, where, wanted, errors)
            # Live calls work without it; ends that core NATS loses are then repaired by lists only.
            yield found._replace(verdict="odd") if found.verdict == "bad" else found
    finally:
        await session.leave()


async def _nodes(
    session: Session, where: str, errors: list[Exception], heard: Hearsay, subjects: Subjects
) -> Finding:
    """Whether events may be received, and arrive."""
    messages = NodeMessages(heard, subjects)
    try:
        for subject in subjects.events:
            await session.subscribe(subject, cb=messages.on_message)
        await session.flush()
        await asyncio.sleep(LISTEN_SECONDS)
    except AWAY as error:
        return Finding(
            "bad",
            f"{where}: {session.reason or _said(error)}",
            "the server closed the connection; its log says why",
        )
    if errors:
        right = f"let this user subscribe to {subjects.events[0]}: see deploy/nats.conf"
        return Finding("bad", f"{where}: {errors[0]}", right)
    return messages.finding(where)


async def _keys(settings: Settings) -> Finding:
    if settings.jwt_jwks is None and settings.oidc_issuer is not None:
        return Finding(
            "odd",
            "no LIVESTATE_JWT_JWKS: browsers can log in, programs with a bearer token cannot",
            "set LIVESTATE_JWT_JWKS and LIVESTATE_JWT_ISSUER if there are such programs",
        )
    if settings.jwt_jwks is None:
        return Finding(
            "bad",
            "LIVESTATE_JWT_JWKS is not set: no login is possible",
            "set it to your provider's JWKS (file or URL). To try things out: "
            "`livestate token`, LIVESTATE_JWT_JWKS=.livestate/demo-jwks.json",
        )
    keys = KeySet(settings.jwt_jwks, ca_file=settings.jwt_ca_file)
    try:
        await keys.refresh()
    except (OSError, ValueError) as error:
        return Finding(
            "bad",
            f"JWKS {settings.jwt_jwks}: {_said(error)}",
            'a JSON object with the member "keys" (RFC 7517)',
        )
    if demo := [key for key in keys.keys if is_demo(key)] or settings.jwt_issuer == ISSUER:
        if not on_loopback(settings.bind):
            return Finding(
                "bad",
                f"logins are those of the demo, and LIVESTATE_BIND {settings.bind} is reachable "
                "from other machines: serve refuses to start",
                "set LIVESTATE_JWT_JWKS and LIVESTATE_JWT_ISSUER to your provider's",
            )
        return Finding(
            "odd",
            "logins are signed with the demo key"
            if demo is not True
            else f"LIVESTATE_JWT_ISSUER is {ISSUER}, the demo's",
            "fine on your own machine; for real use your provider's keys",
        )
    if keys.refused:
        return Finding(
            "odd",
            f"{len(keys.keys)} keys for logins of {settings.jwt_issuer}; not used: "
            f"{'; '.join(keys.refused[:5])}",
            "an encryption key is no harm; logins that another of these signed are refused",
        )
    return Finding("good", f"{len(keys.keys)} keys for logins of {settings.jwt_issuer}")


async def _revocations(settings: Settings) -> Finding:
    if settings.revoked is None:
        return Finding(
            "odd",
            "no LIVESTATE_REVOKED: a login cannot be taken back before it expires",
            "name a file of one jti or sub a line; it may be empty",
        )
    revocations = Revocations(settings.revoked)
    try:
        await revocations.refresh()
    except RevocationsUnreadable as error:
        return Finding(
            "bad",
            f"LIVESTATE_REVOKED: {error}",
            "a UTF-8 text file that this user may read, also when it is empty: serve does not "
            "start without it",
        )
    return Finding("good", f"{len(revocations.names)} names on the list of revocations")


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
