"""The live calls of each node, and the position of the list that last confirmed them.

The active-calls table and its sweeps ask it which calls a list of a node is about, and whether an
event is older than such a list. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping

from livestate.contract.states import FINAL_STATES
from livestate.state.call import Call
from livestate.state.position import NEVER, Position


class NodeCalls:
    """By the name of a node."""

    def __init__(self) -> None:
        self.live = 0  # calls, of all nodes
        self.listed: dict[str, Position] = {}  # where its last complete list was true
        self.restarted: dict[str, Position] = {}  # where its epoch of now begins
        # Its live calls. The values mean nothing: a dict of 50,000 keys takes 38 bytes a key, a set
        # of them 42 to 84.
        self._keys: dict[str, dict[str, None]] = {}

    def update(self, call: Call) -> bool:
        """Count a call that is new, began to live, or ended; whether it is over."""
        keys = self._keys.setdefault(call.node, {})
        if call.state not in FINAL_STATES:
            self.live += 1
            keys[call.key] = None
            return False
        if call.key in keys:
            self.live -= 1
            del keys[call.key]
        return True

    def keys(self, node: str) -> KeysView[str]:
        """Keys of its live calls."""
        return self._keys.get(node, {}).keys()

    def count(self, node: str) -> int:
        """How many live calls it has."""
        return len(self._keys.get(node, ()))

    def with_calls(self) -> Iterable[tuple[str, KeysView[str]]]:
        """Each node that has live calls, and their keys."""
        return ((node, keys.keys()) for node, keys in self._keys.items() if keys)

    def floor(
        self, node: str, epoch: int, floors: Mapping[str, Mapping[int, Position]]
    ) -> Position:
        """Where the last complete list was true that counts for events of ``epoch``: an event from
        before it does not change the state. ``floors`` has the nodes under whose name several
        numberings are heard: an event is judged by the list of its own numbering."""
        listed = self.listed.get(node, NEVER)
        own = floors.get(node)
        return listed if own is None else own.get(epoch, max(listed, *own.values()))

    def returned(self, node: str) -> None:
        """What looked like a restart was none, or the numbering of before goes on beside it."""
        self.restarted.pop(node, None)

    def forget(self, node: str) -> None:
        """Forget where its numbering was: the next node of that name may begin anywhere."""
        self.listed.pop(node, None)
        self.restarted.pop(node, None)
