"""One scope's calls in order of last change: live diff, catching up, resume and snapshot in one.

``since(version)`` costs what changed, not what exists. The version counts the changes of this scope
only: a number for all would tell every company how busy the others are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from livestate.access import Scope
from livestate.call import Call

DIGEST_MODULUS: Final = 2**53  # what a JavaScript number adds exactly
UNKNOWN: Final = 0  # no change has this version


class View:
    """One scope: which keys changed, in which order, at which version.

    ``rows`` maps key → version at its last change, oldest change first. A key whose call is gone
    from the scope stays as a tombstone until trimmed; ``floor`` is the highest version trimmed:
    from below it no diff can be made.
    """

    __slots__ = (
        "_calls",
        "_gone",
        "admits",
        "digest",
        "filtered",
        "floor",
        "live",
        "predecessor",
        "rows",
        "scope",
        "stored_floor",
        "tag",
        "version",
    )  # fmt: skip

    def __init__(self, scope: Scope, tag: str, calls: dict[str, Call]) -> None:
        self.scope = scope
        self.tag = tag
        self.version = 0
        self.floor = 0
        self.stored_floor = 0  # the same for who comes back after a restart of ours
        self.rows: dict[str, int] = {}
        self.live = 0
        self.digest = 0
        self.predecessor: tuple[str, int] | None = None  # tag and version before our restart
        self.filtered = scope.filtered
        self.admits = scope.admits if scope.filtered else _of_company(scope.company_id)
        self._calls = calls
        self._gone: deque[tuple[int, str, int]] = deque()  # (when, key, version), oldest first

    def touch(self, key: str, was: bool, now_in: bool, now: int) -> None:
        """A call that was (or is) in this scope changed."""
        self.version = version = self.version + 1
        previous = self.rows.pop(key, 0)
        self.rows[key] = version
        digest = self.digest
        if was:
            digest -= previous
            self.live -= 1
        if now_in:
            digest += version
            self.live += 1
        else:
            self._gone.append((now, key, version))
        self.digest = digest % DIGEST_MODULUS

    def take_back(self, stored: Iterable[tuple[int, str, bool]], version: int, now: int) -> None:
        """Fill an empty view that was at ``version`` with (version, key, whether the call is in
        it), oldest first; a call of an :data:`UNKNOWN` version changes now.

        A row may be newer than ``version`` (a flush in parts that was cut off); who resumes from
        there gets it, because its own version is higher.
        """
        self.stored_floor = self.floor
        changed = []
        for at, key, holds in stored:
            if holds and at == UNKNOWN:
                changed.append(key)
                continue
            if holds:
                self.live += 1
                self.digest += at
            elif at > self.floor:
                self._gone.append((now, key, at))
            else:
                continue  # it was trimmed after its call was last written
            self.rows[key] = at
            version = max(version, at)
        self.version = version
        for key in changed:
            self.touch(key, False, True, now)
        self.digest %= DIGEST_MODULUS

    def anew(self, key: str) -> None:
        """A new call begins under the name of one that was forgotten. Who has not seen the old one
        go would lay the new one over it: he gets no diff."""
        self.floor = max(self.floor, self.rows.get(key, 0))

    def since(self, version: int) -> Iterator[tuple[str, Call | None, int]]:
        """(key, call or None if it left, version) of all that changed after ``version``, newest
        first. Costs what changed, not what exists."""
        for key in reversed(self.rows):
            at = self.rows[key]
            if at <= version:
                return
            call = self._calls.get(key)
            yield key, call if call is not None and self.holds(call) else None, at

    def snapshot(self) -> Iterator[tuple[str, Call, int]]:
        """Every live call of the scope with its version, longest unchanged first."""
        for key, at in self.rows.items():
            call = self._calls.get(key)
            if call is not None and self.holds(call):
                yield key, call, at

    def holds(self, call: Call) -> bool:
        return call.live and self.admits(call)

    def gone(self, key: str) -> Call | None:
        """A call that ended in this scope, if it may be told how: not one that was moved away."""
        call = self._calls.get(key)
        if call is None or call.live or not self.scope.base.admits(call):
            return None
        return call

    def resumable(self, tag: str, version: int) -> bool:
        """Whether a client that folded up to this position can go on by a diff."""
        if version < self.floor:
            return False
        if tag == self.tag:
            return version <= self.version
        return self.predecessor is not None and (
            tag == self.predecessor[0] and version <= self.predecessor[1]
        )

    def trim(self, older_than: int, at_most: int) -> None:
        """Forget tombstones from before ``older_than`` (ms), and all over ``at_most``."""
        gone = self._gone
        while gone and (gone[0][0] < older_than or len(gone) > at_most):
            _, key, version = gone.popleft()
            if self.rows.get(key) == version:  # else it came back, or left again later
                del self.rows[key]
                self.floor = max(self.floor, version)
        self.stored_floor = max(self.stored_floor, self.floor)

    def forget(self, key: str) -> None:
        """The call itself is forgotten. Its tombstone here stays for its own time, but what is
        stored no longer has it."""
        self.stored_floor = max(self.stored_floor, self.rows.get(key, 0))


def _everything(call: Call) -> bool:
    return True


def _of_company(company_id: str | None) -> Callable[[Call], bool]:
    return _everything if company_id is None else lambda call: call.company_id == company_id
