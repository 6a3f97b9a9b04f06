"""Which of the two wheels runs: pure Python, or with the fold compiled by mypyc (decision 91)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

_FOLD: Final = "livestate.state.call"  # compiled, or no module is


def kind() -> str:
    """``compiled`` or ``pure``. It finds the module's file and does not import it."""
    found = find_spec(_FOLD)
    origin = "" if found is None else found.origin or ""
    return "pure" if origin.endswith(".py") else "compiled"
