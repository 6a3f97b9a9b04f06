"""Reads a file that an operator named, without trusting that it is one: no pipe is waited for, and
no more is read than may be there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple


class Mark(NamedTuple):
    """Which file it was, and in which state: changes with whatever is done to it."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


def mark_of(path: Path) -> Mark:
    """Raises OSError, also where it is no regular file."""
    try:
        about = os.stat(path)
    except ValueError:
        raise OSError(errno.EINVAL, "the path holds a NUL") from None
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return Mark(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def read(path: Path, most: int) -> bytes:
    """Its bytes, at most ``most``. Raises OSError."""
    mark_of(path)
    with path.open("rb") as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return raw
