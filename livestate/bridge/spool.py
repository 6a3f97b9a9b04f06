"""Keeps CDRs on this machine's disk until NATS has them.

The relay appends, the CDR publisher reads and reports what was delivered. There are two queues
(:mod:`livestate.bridge.journal`): ended calls, and refused calls, which scanners cause by the
thousand. Refused calls have a smaller share of the room, give it up to ended calls, and are
delivered last. A CDR survives ``kill -9`` when ``append`` returns, and a crash of the machine after
``sync``, which the relay calls once a second in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

from livestate.bridge.journal import Journal
from livestate.contract.errors import LivestateError
from livestate.nats.cdr_ids import CdrIds, key_in

SEGMENT_BYTES: Final = 4 * 1024 * 1024
REFUSED_SHARE: Final = 8  # refused calls have at most an eighth of the room
Data: TypeAlias = bytes  # of one CDR; ``Spool.bytes`` is a size
_REMEMBERED: Final = 100_000  # delivered message ids: a source may report a CDR again


class SpoolUnusable(LivestateError):
    """The directory cannot be used; the text says why."""


class Spool:
    """A bounded queue on disk. The directory is locked: one process at a time.

    ``most_bytes`` bounds the files; memory takes about 300 bytes a CDR that waits.
    """

    def __init__(
        self, directory: Path, *, most_bytes: int, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.lost = 0  # CDRs of ended calls without room, or refused by the disk
        self.lost_refused = 0  # CDRs of refused calls without room, or removed to make room
        self.order = itertools.count(1)  # of both journals: see ``order_of``
        self.ids: CdrIds  # message ids, with the key of this directory
        self._most = most_bytes
        self._most_refused = most_bytes // REFUSED_SHARE
        self._delivered: OrderedDict[str, None] = OrderedDict()
        # Room of refused calls is given back by whole segments, so there must be several.
        small = max(1, min(segment_bytes, self._most_refused // 4))
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._directory = os.open(directory, os.O_RDONLY)  # synced as well: it has the names
            self.ids = CdrIds(key_in(directory))
            self._ends = Journal(directory, "cdr", segment_bytes=segment_bytes, order=self.order)
            self._refused = Journal(directory, "refused", segment_bytes=small, order=self.order)
        except BlockingIOError:
            raise SpoolUnusable(f"{directory} is in use by another bridge") from None
        except OSError as error:
            raise SpoolUnusable(f"{directory}: {error}") from None
        with contextlib.suppress(OSError):  # a full disk: stored CDRs can still be delivered
            self._ends.begin()
        self._journals = (self._ends, self._refused)
        for journal in self._journals:
            for name in journal.delivered_before:
                self._remember(name)
            journal.delivered_before.clear()

    def __len__(self) -> int:
        return len(self._ends.places) + len(self._refused.places)

    def __contains__(self, name: str) -> bool:
        """Whether this CDR waits here."""
        return name in self._ends.places or name in self._refused.places

    @property
    def bytes(self) -> int:
        """Size of both queues on the disk."""
        return self._ends.bytes + self._refused.bytes

    @property
    def damaged(self) -> int:
        """CDRs, or whole files, that could not be read back."""
        return self._ends.damaged + self._refused.damaged

    @property
    def refused(self) -> int:
        """How many CDRs of refused calls wait."""
        return len(self._refused.places)

    @property
    def dirty(self) -> bool:
        """Whether anything waits for ``sync``."""
        return self._ends.dirty or self._refused.dirty

    def knows(self, name: str) -> bool:
        """Whether this CDR waits here or was delivered recently."""
        return name in self or name in self._delivered

    def append(self, name: str, data: Data, *, refused: bool = False) -> bool:
        """Append a CDR; ``refused``: of a call that the proxy refused. False if there is no room or
        the disk refuses."""
        journal = self._refused if refused else self._ends
        needed = len(name) + len(data) + 11
        if self._has_room(needed, refused):
            try:
                journal.append(name, data)
                return True
            except OSError:
                if not refused and self._refused.bytes and self._make_room():
                    return self.append(name, data)  # a full disk: refused calls make room
        if refused:
            self.lost_refused += 1
        else:
            self.lost += 1
        return False

    def waiting(self, most: int) -> list[tuple[str, Data]]:
        """The oldest ``most`` waiting CDRs; those of refused calls behind all others."""
        found: list[tuple[str, Data]] = []
        for journal in self._journals:
            for name in list(itertools.islice(journal.places, most - len(found))):
                data = journal.read(name)
                if data is not None:
                    found.append((name, data))
        return found

    def names(self) -> list[str]:
        """The message ids of all CDRs that wait, in the order of ``waiting``."""
        return [*self._ends.places, *self._refused.places]

    def read(self, name: str) -> Data | None:
        """One CDR that waits; None if it does not, or cannot be read back."""
        for journal in self._journals:
            if name in journal.places:
                return journal.read(name)
        return None

    def order_of(self, name: str) -> int:
        """A number that grows with each appended CDR, so that CDRs of before some moment can be
        distinguished from later ones. 0 for one that does not wait."""
        place = self._ends.places.get(name) or self._refused.places.get(name)
        return place.order if place else 0

    def delivered(self, name: str) -> None:
        """Note that NATS has a CDR. If the note is lost in a crash, the CDR is sent again, and NATS
        drops it by its id."""
        if not self._ends.remove(name):
            self._refused.remove(name)
        self._remember(name)

    def sync(self) -> None:
        """Sync to the disk what was appended. Blocks: call it in a thread.

        Raises OSError; then call ``recover``.
        """
        for journal in self._journals:
            journal.sync()
        os.fsync(self._directory)

    def recover(self) -> None:
        """Append again what a failed ``sync`` may have lost (see :meth:`Journal.sync`). Raises
        OSError while the disk refuses."""
        for journal in self._journals:
            journal.rewrite()

    def close(self) -> None:
        """Close all files and unlock the directory."""
        for journal in self._journals:
            journal.close()
        for file in (self._directory, self._lock):
            os.close(file)

    def _has_room(self, needed: int, refused: bool) -> bool:
        if refused:
            return self._refused.bytes + needed <= self._most_refused and (
                self.bytes + needed <= self._most
            )
        while self.bytes + needed > self._most:
            if not self._make_room():
                return False
        return True

    def _make_room(self) -> bool:
        """Delete the oldest segment of refused calls; False if that freed nothing."""
        before = self._refused.bytes
        self.lost_refused += len(self._refused.drop_oldest())
        return self._refused.bytes < before

    def _remember(self, names: str | Iterable[str]) -> None:
        for name in (names,) if isinstance(names, str) else names:
            self._delivered[name] = None
            if len(self._delivered) > _REMEMBERED:
                self._delivered.popitem(last=False)
