"""A list of names in a query: ``?trunk=gw-a,gw-b``. A comma that is part of a name has a backslash
before it, and so has a backslash that a comma, a backslash or the end would follow.

The page writes its own address in the same way (``api/dashboard/table/values.js``); any other
backslash is the character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_NAME: Final = re.compile(r"(?:\\[\\,]|[^,])+", re.S)
_ESCAPED: Final = re.compile(r"\\([\\,])")
_TO_ESCAPE: Final = re.compile(r"\\(?=[\\,]|\Z)|,")


def names_in(values: Iterable[str]) -> list[str]:
    """The names of a parameter's values: it may be repeated, and each value may be a list."""
    return [_ESCAPED.sub(r"\1", name) for value in values for name in _NAME.findall(value)]


def written(name: str) -> str:
    """A name as one element of such a list."""
    return _TO_ESCAPE.sub(r"\\\g<0>", name)
