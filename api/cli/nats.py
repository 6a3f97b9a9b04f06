"""NATS options and findings shared by the commands ``doctor``, ``streams`` and ``bridge``."""

from __future__ import annotations

from typing import Any

import click

from api.cli.finding import Finding
from livestate.nats.connection import Unreachable, connect
from livestate.nats.jetstream import CREATE, FAILED, Stream, existing, explained
from livestate.nats.session import Session
from livestate.nats.url import RIGHT_INBOX, is_inbox, parse
from livestate.process.masking import masked


class NatsUrls(click.ParamType[str]):
    """One or several NATS URLs; error texts contain no password."""

    name = "URL"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        try:
            parse(str(value))
        except ValueError as right:
            self.fail(f"{masked(str(value))!r} must be {right}", param, ctx)
        return str(value)


class NatsInbox(click.ParamType[str]):
    """A prefix of reply subjects."""

    name = "PREFIX"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        if not is_inbox(str(value)):
            self.fail(f"{value!r} must be {RIGHT_INBOX}", param, ctx)
        return str(value)


async def reached(
    urls: str, credentials: str | None, inbox: str, errors: list[Exception]
) -> tuple[Session | None, list[Finding]]:
    """A connection to the first server that lets us in, and a finding for each that does not: a
    cluster of which one server refuses works, but is worth a look. ``errors`` collects what the
    connection's server refuses later."""
    session: Session | None = None
    refused: list[Finding] = []
    servers = parse(urls)
    for server in servers:
        try:
            found = await connect(
                (server,),
                "livestate-doctor",
                credentials=credentials,
                inbox=inbox,
                failed=errors.append,
            )
        except Unreachable as error:
            trouble = error.troubles[server.address]
            refused.append(
                Finding(
                    "bad", f"NATS at {server.address}: {trouble} ({trouble.kind})", trouble.mend
                )
            )
        else:
            if session is None:
                session = found
            else:
                await found.leave()
    if session is not None:
        refused = [finding._replace(verdict="odd") for finding in refused]
    return session, refused


async def stream(session: Session, where: str, wanted: Stream, errors: list[Exception]) -> Finding:
    """Whether a stream exists with the required configuration."""
    del errors[:]
    what = f"{where}: stream {wanted.name}"
    try:
        info = await existing(session.jetstream(), wanted)
    except FAILED as error:
        rights = [str(one) for one in errors if "permissions violation" in str(one)]
        text = f"no right: {rights[0]}" if rights else explained(error, wanted.subject)
        return Finding(
            "bad",
            f"{what}: {text}",
            "enable JetStream for this account, and grant "
            "the rights of deploy/nats.conf to this user",
        )
    if info is None:
        return Finding("bad", f"{what}: it does not exist, nothing stores {wanted.subject}", CREATE)
    objections = wanted.objections(info)
    if objections:
        return Finding(
            "odd",
            f"{what}: {'; '.join(objections)}",
            f"change it as its operator: nats stream edit {wanted.name}",
        )
    return Finding(
        "good", f"{what}: {info.state.messages} messages, {info.state.bytes // 1024**2} MB"
    )
