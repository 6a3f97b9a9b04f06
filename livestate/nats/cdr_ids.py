"""Makes the message id of a CDR (``Nats-Msg-Id``): the same for each copy, impossible to guess.

JetStream compares ids over a whole stream, for all subjects and senders. With an id that can be
guessed, such as ``<node>-<epoch>-<seq>``, any bridge could store junk under the id of another
node's next CDR, and NATS would drop the real one as a duplicate. So the id ends with a keyed digest
of those three. The key is stored beside the waiting CDRs, in the bridge's spool: a CDR that is sent
again, also after a restart, has the same id.

:mod:`livestate.bridge.relay` and :mod:`livestate.devtools.cdr_writer` make ids here.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import secrets
from pathlib import Path
from typing import Final

from livestate.contract.messages import Message

log = logging.getLogger("livestate.bridge")

KEY_FILE: Final = "id.key"
KEY_BYTES: Final = 32
_DIGEST_CHARS: Final = 32  # 128 bits


class CdrIds:
    """Makes ids with one key. Two bridges that read one Kamailio make the same ids if they have
    the same key."""

    def __init__(self, key: bytes | None = None) -> None:
        """``key``: None for one that lasts as long as this object."""
        self._key = key or secrets.token_bytes(KEY_BYTES)

    def id_of(self, cdr: Message) -> str:
        """``<node>-<epoch>-<seq>-<digest>``."""
        name = plain_id(cdr)
        digest = hmac.digest(self._key, name.encode("utf-8", "surrogatepass"), "sha256").hex()
        return f"{name}-{digest[:_DIGEST_CHARS]}"


def plain_id(cdr: Message) -> str:
    """``<node>-<epoch>-<seq>``: the number of the event that ended the call. In a spool
    of an earlier version it is the whole id."""
    return f"{cdr['node']}-{cdr['epoch']}-{cdr['seq']}"


def key_in(directory: Path) -> bytes:
    """The key in this directory, made where there is none.

    A key that cannot be read, or that is too short, is replaced. One that cannot be written serves
    until the process ends: a CDR that is sent again after that has another id, so it may be stored
    twice. Both are logged.
    """
    file = directory / KEY_FILE
    try:
        key = bytes.fromhex(file.read_text("ascii"))
        if len(key) >= KEY_BYTES:
            return key
        log.warning("the key of message ids is too short, a new one is made: file=%s", file)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log.warning(
            "the key of message ids cannot be read, a new one is made: file=%s reason=%s",
            file,
            error,
        )
    key = secrets.token_bytes(KEY_BYTES)
    try:
        _write(file, key.hex().encode())
    except OSError as error:
        log.warning(
            "the key of message ids cannot be kept, CDRs that are sent again after a "
            "restart may be stored twice: file=%s reason=%s",
            file,
            error,
        )
    return key


def _write(file: Path, data: bytes) -> None:
    """Write a file as a whole or not at all, also if the power fails."""
    part = file.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError("short write")
        os.fsync(descriptor)
        part.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    finally:
        os.close(descriptor)
