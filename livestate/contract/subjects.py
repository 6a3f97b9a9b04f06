"""Checks which node sent a message: nats-server can add the node to the subject itself.

The ``node`` in a message is only a claim. Where each bridge has a NATS account of its own, the
server imports ``call.events.>`` of that account as ``nodes.<node>.call.events.>``
(deploy/nats-vouched.conf), and the bridge cannot choose that token. With
``LIVESTATE_NATS_SUBJECT`` set to such a subject, a message that names another node is rejected as
``forged_node``. The pipeline and the CDR reader call this for every message.

A node may also name an ``owner``: it sends an event of another node's call whose dialog it has a
copy of (:mod:`livestate.state.takeover`). Where the server vouches for nodes, that is accepted only
between nodes that ``LIVESTATE_PAIRS`` puts into one group. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from livestate.contract.errors import Rejected
from livestate.contract.events import CDR_SUBJECT, SUBJECT_PREFIX
from livestate.contract.node_name import node_name_problem

PLAIN: Final = SUBJECT_PREFIX + ">"
_LOST: Final = SUBJECT_PREFIX + "lost"


def paired(text: str) -> dict[str, frozenset[str]]:
    """Groups of nodes that have copies of each other's dialogs: node → the group that it is in.
    In ``text`` spaces separate nodes and commas separate groups. Raises ValueError for a bad name,
    or one in two groups."""
    partners: dict[str, frozenset[str]] = {}
    for group in text.split(","):
        names = frozenset(group.split())
        for name in names:
            if problem := node_name_problem(name):
                raise ValueError(problem)
            if name in partners:
                raise ValueError(f"groups such as kam-1 kam-2, kam-3 kam-4: {name} is in two")
            partners[name] = names
    return partners


class Vouched(NamedTuple):
    """A message's subject as a bridge sent it, and the node that the server vouches for."""

    subject: str
    node: str | None


class Subjects:
    """The subjects to subscribe to, made from ``LIVESTATE_NATS_SUBJECT``.

    With ``call.events.>`` every claim is believed, with ``nodes.*.call.events.>`` it is compared.
    Raises ValueError for anything else.
    """

    def __init__(self, pattern: str = PLAIN, pairs: str = "") -> None:
        """``pairs``: see :func:`paired`."""
        prefix, star, rest = pattern.partition("*.")
        tokens = prefix.split(".")[:-1]
        fits = star and rest == PLAIN and tokens and all(tokens) and not set(prefix) & set(" *>\t")
        if pattern != PLAIN and not fits:
            raise ValueError(f"{PLAIN}, or a subject such as nodes.*.{PLAIN}")
        self.vouched = pattern != PLAIN
        self._partners = paired(pairs)
        self._prefix = prefix if self.vouched else ""
        # An instance of livestate publishes ``lost``, so it comes from our own account.
        self.events = (pattern, _LOST) if self.vouched else (pattern,)
        self.cdrs = f"{prefix}*.{CDR_SUBJECT}" if self.vouched else CDR_SUBJECT

    def of(self, subject: str) -> Vouched:
        """Take the node off a subject. A token of a subject cannot hold a dot, so the subject has
        ``_`` for each dot of the node's name."""
        if not self.vouched or not subject.startswith(self._prefix):
            return Vouched(subject, None)
        node, _, rest = subject[len(self._prefix) :].partition(".")
        return Vouched(rest, node)

    def check_owner(self, node: str, owner: str | None) -> None:
        """Raise :class:`~livestate.contract.errors.Rejected` unless ``node`` may send events of
        calls of ``owner``."""
        if owner is None or owner == node or not (self.vouched or self._partners):
            return
        if owner not in self._partners.get(node, ()):
            raise Rejected(
                "forged_node",
                f"{node} tells of a call of {owner[:80]}, and "
                "LIVESTATE_PAIRS does not name them together",
            )

    def check(self, vouched: Vouched, claimed: str) -> None:
        """Raise :class:`~livestate.contract.errors.Rejected` if a message that claims to be of the
        node ``claimed`` was not sent by that node's account."""
        node, subject = vouched.node, vouched.subject
        if node is None:
            if self.vouched and subject != _LOST:
                raise Rejected("forged_node", f"{subject} does not come from a node's account")
        elif subject == _LOST:
            raise Rejected("forged_node", f"{node}: only livestate itself publishes lost calls")
        elif claimed.replace(".", "_") != node:
            raise Rejected("forged_node", f"{node} says that it is {claimed[:80]}")
