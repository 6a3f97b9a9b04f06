"""Defines the two JetStream streams: ``CDR`` stores ``cdr.raw``, ``CDR_DEAD`` stores ``cdr.dead``.

Where nats-server vouches for each node, ``CDR`` stores ``nodes.*.cdr.raw`` instead.

An operator creates them once with ``livestate streams --create``. Neither the service nor a bridge
has the right to: a user that may create a stream may also let it republish into ``call.events.>``,
and so invent calls. Both report what is missing and continue when it exists.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)
from nats.js.errors import (
    APIError,
    NoStreamResponseError,
    NotFoundError,
    ServiceUnavailableError,
)

from livestate.contract.events import CDR_SUBJECT
from livestate.nats.connection import AWAY, close, connect
from livestate.nats.failure import Trouble

DEAD_SUBJECT: Final = "cdr.dead"
CREATE: Final = "`livestate streams --create` makes it"
INBOX: Final = "_INBOX.streams"  # of the user `streams` in deploy/nats.conf
TOO_LONG: Final = 10054  # err_code of nats-server: message size exceeds maximum allowed
_OFF: Final = (10039, 10076)  # err_code: JetStream is not enabled (for this account)
# Errors of a request to JetStream, an invalid response included.
FAILED: Final = (*AWAY, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Stream:
    """Bounded in time and bytes: the oldest messages go first."""

    name: str
    subject: str
    days: int
    most_bytes: int = 512 * 1024**2
    message_bytes: int = 64 * 1024
    duplicate_seconds: float = 600.0  # the bridge relies on it, see livestate.bridge.cdr_publisher
    # A bridge's account may reach the stream by an import that adds the node to the subject.
    under_a_node: bool = False

    def config(self, replicas: int) -> StreamConfig:
        return StreamConfig(
            name=self.name,
            subjects=[self.subject],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD,
            max_age=self.days * 86_400.0,
            max_bytes=self.most_bytes,
            max_msg_size=self.message_bytes,
            duplicate_window=self.duplicate_seconds,
            num_replicas=replicas,
        )

    def objections(self, info: StreamInfo) -> list[str]:
        """What is wrong with an existing stream; its limits are up to its operator."""
        config, found = info.config, []
        if not any(self._stored_by(pattern) for pattern in config.subjects or ()):
            found.append(f"it does not store {self.subject}")
        if config.republish is not None:
            found.append("it republishes: its writers can invent calls")
        if config.allow_rollup_hdrs:
            found.append("it allows roll-ups: its writers can delete all its messages")
        if config.allow_msg_schedules:
            found.append("it allows schedules: its writers can write under other subjects")
        if config.allow_msg_ttl:
            found.append("it allows a time to live: a CDR may be gone before it is read")
        if config.sealed:
            found.append("it is sealed and takes nothing")
        if (config.duplicate_window or 0) < self.duplicate_seconds:
            found.append(
                f"duplicate_window is {config.duplicate_window or 0:g} s, a CDR that is "
                f"sent again within {self.duplicate_seconds:g} s may be stored twice"
            )
        return found

    def _stored_by(self, pattern: str) -> bool:
        if self.under_a_node and pattern.endswith(f".*.{self.subject}"):
            return True
        return covers(pattern, self.subject)


def covers(pattern: str, subject: str) -> bool:
    """Whether every message of ``subject``, which may have ``*``, fits ``pattern``."""
    wanted, tokens = subject.split("."), pattern.split(".")
    if tokens[-1] == ">" and len(wanted) >= len(tokens):  # one token or more
        tokens, wanted = tokens[:-1], wanted[: len(tokens) - 1]
    return len(tokens) == len(wanted) and all(
        token in ("*", want) for token, want in zip(tokens, wanted, strict=True)
    )


CDRS: Final = Stream("CDR", CDR_SUBJECT, days=7)
DEAD: Final = Stream("CDR_DEAD", DEAD_SUBJECT, days=30)
STREAMS: Final = (CDRS, DEAD)
STREAM: Final = CDRS.name


def streams_for(cdr_subject: str) -> tuple[Stream, Stream]:
    """Both, with CDRs stored under ``cdr_subject``: ``nodes.*.cdr.raw`` where nats-server vouches
    for each node (livestate.contract.subjects)."""
    return replace(CDRS, subject=cdr_subject), DEAD


async def existing(streams: JetStreamContext, wanted: Stream) -> StreamInfo | None:
    """The stream by its name; None if there is none. Raises what nats-py raises."""
    try:
        return await streams.stream_info(wanted.name)
    except NotFoundError:
        return None


async def create(
    client: Client, *, replicas: int = 1, wanted: Iterable[Stream] = STREAMS
) -> list[str]:
    """Make the streams that are missing; their names. Streams that are there stay as they are."""
    streams, made = client.jetstream(), []
    for one in wanted:
        if await existing(streams, one) is None:
            await streams.add_stream(one.config(replicas))
            made.append(one.name)
    return made


async def create_at(urls: str, *, credentials: str | None = None, replicas: int = 1) -> list[str]:
    """Connect, :func:`create`, close: for the demo, load tests, benches and tests."""
    client = await connect(urls, "livestate-streams", credentials=credentials, inbox=INBOX)
    try:
        return await create(client, replicas=replicas)
    finally:
        await close(client)


def explained(error: BaseException, subject: str, missing_right: Trouble | None = None) -> str:
    """What a failure of JetStream means and what mends it, in one line."""
    if isinstance(error, TimeoutError) and missing_right is not None:
        return f"no right: {missing_right}; {missing_right.mend}"
    if isinstance(error, NotFoundError):
        return f"no stream stores {subject}; {CREATE}"
    if isinstance(error, NoStreamResponseError):
        return f"no stream stores {subject}, or JetStream is off; {CREATE}"
    if isinstance(error, ServiceUnavailableError) and error.err_code in (None, *_OFF):
        return (
            "JetStream is off for this account, or without a leader; turn it on, look at the "
            "server's disk and its log"
        )
    if isinstance(error, APIError) and error.description:
        return f"JetStream refuses: {error.description} (err_code {error.err_code})"
    if isinstance(error, TimeoutError):
        return "JetStream gave no answer in time"
    return f"{type(error).__name__}: {str(error).removeprefix('nats: ')}"[:200]
