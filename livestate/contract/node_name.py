"""Which names a node may have, and what to tell an operator whose node has another one.

The name is the end of the subject ``call.resync.<node>``, and part of each CDR's message id.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from pydantic import Field

MAX_NODE_CHARS: Final = 253  # the longest host name (RFC 1035 §2.3.4)
# One or more tokens of a NATS subject: a host name is one.
_NODE_NAME: Final = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"
NodeName: TypeAlias = Annotated[str, Field(max_length=MAX_NODE_CHARS, pattern=_NODE_NAME)]


def node_name_problem(name: str) -> str | None:
    """Why a node must not have this name, and what to do about it; None if it may."""
    fits = len(name) <= MAX_NODE_CHARS and not name.endswith("\n")
    if fits and re.fullmatch(_NODE_NAME, name, re.ASCII):
        return None
    return (
        f"the node's name {name[:80]!r} is not 1 to {MAX_NODE_CHARS} letters, digits, '-' or '_', "
        f"with single dots between them: livestate would reject all its messages. Choose another "
        f"in LIVESTATE_NODE of livestate.cfg, such as {_better_name(name)!r}"
    )


def _better_name(name: str) -> str:
    parts = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.").split(".")
    return ".".join(filter(None, parts))[:64].rstrip(".") or "kam-1"
