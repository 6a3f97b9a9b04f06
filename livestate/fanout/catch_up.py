"""What a distributor needs beside the frames: the state that a client which missed some lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from livestate.fanout.frame import Frame


class CatchUpSource(Protocol):
    """The state of one view. In one process the view's own
    :class:`~livestate.fanout.producer.Producer` has it; another process folds it from frames."""

    @property
    def tag(self) -> str:
        """The name of the numbering that the versions belong to."""

    @property
    def version(self) -> int:
        """The newest version. It may be ahead of the last frame, never behind."""

    @property
    def floor(self) -> int:
        """From below this version there is no diff: the client needs a snapshot. It rises when a
        removal is forgotten, and when the key of a removed call names another call: a client that
        has not seen the first one go would merge the second one into it."""

    @property
    def calls(self) -> int:
        """How many calls are in the view."""

    @property
    def filtered(self) -> bool:
        """The view is narrowed by a filter that a client chose."""

    def can_resume(self, tag: str, version: int) -> bool:
        """Whether a client that was at this position should go on by a diff."""

    def since(self, version: int) -> Frame:
        """A diff from ``version`` with whole records; ``to_version`` says how far it leads. Where
        very many calls changed it holds those that changed first, and the caller asks again."""

    def snapshot_steps(self, frames: list[Frame]) -> Iterator[None]:
        """Append the parts of a snapshot of this moment to ``frames``, a step of less than a
        millisecond at a time. What happens between two steps does not show in it."""

    def heartbeat(self) -> Frame:
        """Count, digest and whatever else comes with a heartbeat, of the newest version."""
