"""What ``livestate doctor`` and ``livestate bridge --check`` find."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing looked at: ``good``, ``odd`` (it runs, but see) or ``bad`` (it cannot work)."""

    verdict: str
    what: str
    mend: str = ""
