"""How many examples a property's test tries: a quarter in ``make test``, all in ``make faults``."""

from __future__ import annotations

import os
from typing import Final

ALL: Final = "EXAMPLES"  # the environment variable: `EXAMPLES=all`
FEWEST: Final = 25


def examples(number: int) -> int:
    """``number`` if all are asked for, else a quarter of it."""
    return number if os.environ.get(ALL) == "all" else max(min(number, FEWEST), number // 4)
