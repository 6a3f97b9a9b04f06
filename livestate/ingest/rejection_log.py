"""Logs rejected messages at a bounded rate, so that a flood of them does not fill the disk.

The pipeline and the dialog lists call it with each rejection after counting it. Each reason has a
limit of its own (:mod:`livestate.process.log_limit`): a flood of one reason hides no other.
"""

from __future__ import annotations

import logging

from livestate.contract.errors import Rejected
from livestate.process.log_limit import LogLimit, printable

log = logging.getLogger("livestate.pipeline")

MAX_DETAIL_CHARS = 600  # a rejected item of a list names its node, dialog and Call-ID as well


class RejectionLog:
    """One line per rejection until the limit of its reason; then one every 10 s."""

    def __init__(self) -> None:
        self._limits: dict[str, LogLimit] = {}

    def write(self, rejected: Rejected, now: int) -> None:
        """``now`` is in ms and only goes forward."""
        limit = self._limits.get(rejected.reason)
        if limit is None:  # the reasons are a bounded set
            limit = self._limits[rejected.reason] = LogLimit()
        unlogged = limit.allows(now / 1000)
        if unlogged is not None:
            detail = printable(rejected.detail, MAX_DETAIL_CHARS)
            log.warning(
                "rejected a message: reason=%s unlogged=%d detail=%s",
                rejected.reason,
                unlogged,
                detail,
            )
