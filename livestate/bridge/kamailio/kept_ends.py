"""Reads the terminal events that Kamailio keeps in an ``htable`` until a bridge acknowledges them.

The source asks for them with ``htable.dump``; ``livestate bridge --check`` counts them. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from livestate.contract.messages import Message


def kept_ends(answer: Message, reject: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Name and value of each row in an answer to ``htable.dump``. ``reject(reason)`` is called for
    a row that is invalid; the other rows are returned."""
    result = answer.get("result")
    if not isinstance(result, list):
        reject(f"htable.dump failed: {str(answer.get('error', result))[:100]}")
        return
    for bucket in result:
        slots = bucket.get("slot") if isinstance(bucket, dict) else None
        if not isinstance(slots, list):
            reject(f"htable.dump: {str(bucket)[:100]!r} is no entry of a table")
            continue
        for row in slots:
            name, value = (row.get("name"), row.get("value")) if isinstance(row, dict) else (0, 0)
            if isinstance(name, str) and isinstance(value, str):
                yield name, value
            else:
                reject(f"htable.dump: {str(row)[:100]!r} is no row of text")
