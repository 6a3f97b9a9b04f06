"""A spool on a disk that is full or read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from livestate.bridge.spool import Spool, SpoolUnusable
from tests.unit.bridge.test_spool import ROOM, names, opened


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    where = tmp_path / "disk"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", where]).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def test_a_full_disk_takes_no_more_loses_none_and_has_room_again(small_disk: Path) -> None:
    with opened(small_disk, most_bytes=10 * ROOM) as spool:
        for n in range(20):
            assert spool.append(f"r-1-{n}", b"x" * 400, refused=True)
        kept = 0
        while spool.append(f"n-1-{kept}", b"x" * 400):
            kept += 1
        assert spool.refused == 0, "refused calls give way on a full disk, too"
        assert spool.lost == 1
        spool.sync()
        assert names(spool) == [f"n-1-{n}" for n in range(kept)]
    with opened(small_disk, most_bytes=10 * ROOM) as spool:  # it starts on a full disk
        assert names(spool) == [f"n-1-{n}" for n in range(kept)]
        for name in names(spool)[: kept // 2]:
            spool.delivered(name)
        assert spool.append("n-1-1000", b"y" * 400)
    with opened(small_disk, most_bytes=10 * ROOM) as spool:
        left = [f"n-1-{n}" for n in range(kept // 2, kept)]
        assert names(spool)[-1] == "n-1-1000"
        assert set(left) <= set(names(spool)), "a note may be lost on a full disk, a CDR never"


def test_a_disk_that_is_read_only_is_said_to_be_so(small_disk: Path) -> None:
    with opened(small_disk) as spool:
        assert spool.append("n-1-1", b"{}")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(SpoolUnusable, match="ead-only"):
        Spool(small_disk, most_bytes=ROOM)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    with opened(small_disk) as spool:
        assert names(spool) == ["n-1-1"]
