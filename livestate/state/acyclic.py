"""Tells mypyc that objects of a class are never part of a cycle, so they need no room for the
collector of cycles: 16 bytes each.

``mypyc_attr(acyclic=True)`` does that in a compiled build: mypyc looks for the decorator of
``mypy_extensions`` in the source, and nothing calls it there. In the pure build it does nothing.
That package is not needed at run time. This module must not be compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_: bool) -> Any:
        """Return the class as it is."""
        return lambda cls: cls
