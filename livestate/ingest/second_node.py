"""Tells an event of a second node of the same name from a late event of the first one.

The pipeline asks for each event that changed nothing and whose number is not the next one. Pure.
"""

from __future__ import annotations

from typing import Final

from livestate.contract.events import CallPhase
from livestate.state.active_calls import ActiveCalls
from livestate.state.nodes.epochs import Observed
from livestate.state.nodes.registry import Nodes

JUST_NOW_MS: Final = 10_000  # ended calls are remembered for longer


# Two nodes that use one name give out the same numbers, so an event of the second looks like
# an old one of the first and changes nothing. The difference is the call: the call of a true
# duplicate is known, or the event happened long ago. An event of a moment ago about a call
# that is not known, under a number that is old in one of three ways (seen before; given out
# before we first heard this numbering; of an epoch that is over), is of another node.
def is_new_call(
    nodes: Nodes, table: ActiveCalls, event: CallPhase, heard: Observed, now: int
) -> bool:
    """Whether an event that changed nothing has an old number but reports a current call."""
    if event.dialog is None or now - event.ts > JUST_NOW_MS:
        return False
    if event.owner is not None and event.owner != event.node:
        return False
    node = nodes.by_name[event.node]
    if event.epoch == node.epoch:
        old = not heard.fresh or event.seq < node.sequence.first
    else:
        other_epochs = nodes.floors.get(node.name, ())
        old = event.epoch < node.epoch and event.epoch not in other_epochs
    if not old or (heard.fresh and event.ts - node.since < JUST_NOW_MS):
        return False
    return table.key_of(event.node, event.dialog, event.call_id) not in table.calls
