"""``livestate streams``: shows and creates the JetStream streams, for a NATS operator."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import click

from api.cli.doctor import tell
from api.cli.environment import settings
from api.cli.finding import Finding
from api.cli.nats import NatsInbox, NatsUrls, reached, stream
from livestate.contract.subjects import Subjects
from livestate.nats.jetstream import FAILED, INBOX, Stream, create, explained, streams_for
from livestate.nats.session import Session
from livestate.process.masking import masked


@click.command()
@click.option("--create", "creates", is_flag=True, help="Create missing streams.")
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="Replicas of each new stream; 3 in a cluster of three.",
)
@click.option(
    "--nats-url",
    type=NatsUrls(),
    metavar="URL",
    help="The NATS servers, with a user that may create streams: `streams` of "
    "deploy/nats.conf.  [default: LIVESTATE_NATS_URL]",
)
@click.option(
    "--nats-creds",
    type=click.Path(dir_okay=False),
    help="Its credentials file.  [default: LIVESTATE_NATS_CREDS]",
)
@click.option(
    "--nats-inbox",
    type=NatsInbox(),
    default=INBOX,
    show_default=True,
    help="Prefix of reply subjects.",
)
def streams(
    creates: bool, replicas: int, nats_url: str | None, nats_creds: str | None, nats_inbox: str
) -> None:
    """Show the streams of cdr.raw and cdr.dead; create them with --create.

    With LIVESTATE_NATS_SUBJECT=nodes.*.call.events.> CDRs are stored under nodes.*.cdr.raw.
    Neither the service nor a bridge may make a stream: a user that may, can let it republish into
    call.events.> and so invent calls. Streams that exist are never changed. Exits with 1 if one
    is missing.
    """
    found = settings()
    urls = nats_url or found.nats_url
    credentials = nats_creds or (None if nats_url else found.nats_creds)
    wanted = streams_for(Subjects(found.nats_subject).cdrs)
    sys.exit(asyncio.run(tell(_findings(urls, credentials, nats_inbox, creates, replicas, wanted))))


async def _findings(
    urls: str,
    credentials: str | None,
    inbox: str,
    creates: bool,
    replicas: int,
    wanted: tuple[Stream, ...],
) -> AsyncIterator[Finding]:
    errors: list[Exception] = []
    session, refused = await reached(urls, credentials, inbox, errors)
    for finding in refused:
        yield finding
    if session is None:
        return
    where = f"NATS at {masked(urls)}"
    try:
        if creates:
            yield await _create(session, where, replicas, errors, wanted)
        for one in wanted:
            yield await stream(session, where, one, errors)
    finally:
        await session.leave()


async def _create(
    session: Session,
    where: str,
    replicas: int,
    errors: list[Exception],
    wanted: tuple[Stream, ...],
) -> Finding:
    try:
        made = await create(session, replicas=replicas, wanted=wanted)
    except FAILED as error:
        rights = [str(one) for one in errors if "permissions violation" in str(one)]
        if rights:
            return Finding(
                "bad", f"{where}: {rights[0]}", "use the user `streams` of deploy/nats.conf"
            )
        return Finding(
            "bad",
            f"{where}: {explained(error, 'them')}",
            "nats-server's log says more; --replicas is for a cluster",
        )
    return Finding("good", f"{where}: created {' and '.join(made) or 'nothing, both exist'}")
