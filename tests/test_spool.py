"""CDRs on this machine's disk: whatever kills us, each is there until NATS has it."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livestate.runtime.spool import Spool, SpoolUnusable

ROOM = 1024 * 1024
SEGMENT = 2_000  # many of them in a short test
CDRS = 20_000
# In a process of its own, whose memory nobody else has touched.
FILLED = """
import os, sys
from pathlib import Path
import orjson
from livestate.runtime.spool import Spool

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

spool = Spool(Path(sys.argv[1]), most_bytes=1 << 30)
before = resident()
for number in range(int(sys.argv[2])):
    cdr = {"phase": "ended", "call_id": f"{number}@10.0.0.1", "from": "x" * 300}
    assert spool.append(f"node-1-{number}", orjson.dumps(cdr))
print((resident() - before) // len(spool))
"""


@contextlib.contextmanager
def opened(directory: Path, *, most_bytes: int = ROOM) -> Iterator[Spool]:
    spool = Spool(directory, most_bytes=most_bytes, segment_bytes=SEGMENT)
    try:
        yield spool
    finally:
        spool.close()


def names(spool: Spool) -> list[str]:
    return [name for name, _ in spool.waiting(10_000)]


class Life(RuleBasedStateMachine):
    """CDRs come and go, and the process dies at any moment: what it wrote is the kernel's, so to
    close the files is as much as ``kill -9`` does."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.waiting: OrderedDict[str, bytes] = OrderedDict()
        self.count = 0
        self.spool = self.opened()

    def opened(self) -> Spool:
        return Spool(Path(self.home.name), most_bytes=20_000, segment_bytes=SEGMENT)

    def teardown(self) -> None:
        self.spool.close()
        self.home.cleanup()

    @rule(data=st.binary(max_size=900).map(lambda some: some.replace(b"\n", b" ")))
    def a_call_ends(self, data: bytes) -> None:
        self.count += 1
        if self.spool.append(f"n-1-{self.count}", data):
            self.waiting[f"n-1-{self.count}"] = data

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 100))
    def nats_has_one(self, which: int) -> None:
        name = list(self.waiting)[which % len(self.waiting)]
        self.spool.delivered(name)
        del self.waiting[name]
        assert self.spool.knows(name)

    @rule()
    def it_is_synced(self) -> None:
        self.spool.sync()

    @rule(torn=st.binary(max_size=40).map(lambda some: some.replace(b"\n", b"")))
    def it_dies(self, torn: bytes) -> None:
        """Perhaps in the middle of a line."""
        self.spool.close()
        segments = sorted(Path(self.home.name).glob("*.cdr"))
        with segments[-1].open("ab") as last:
            last.write(torn)
        self.spool = self.opened()

    @invariant()
    def nothing_is_lost_doubled_or_swapped(self) -> None:
        assert dict(self.spool.waiting(10_000)) == self.waiting
        assert names(self.spool) == list(self.waiting)
        assert len(self.spool) == len(self.waiting)

    @invariant()
    def it_knows_what_it_takes_on_the_disk(self) -> None:
        taken = sum(path.stat().st_size for path in Path(self.home.name).glob("*.cdr"))
        assert self.spool.bytes == taken <= 20_000


class TestLife(Life.TestCase):
    settings = settings(max_examples=60, stateful_step_count=40)


def test_a_full_spool_says_so_and_has_room_again_when_nats_took_some(tmp_path: Path) -> None:
    with opened(tmp_path, most_bytes=5_000) as spool:
        kept = []
        while spool.append(f"n-1-{len(kept)}", b"x" * 400):
            kept.append(f"n-1-{len(kept)}")
        assert spool.lost == 1
        assert 9 <= len(kept) <= 12
        assert names(spool) == kept
        for name in kept[:6]:
            spool.delivered(name)
        assert spool.append("n-1-100", b"x" * 400)


def test_no_file_stays_of_what_was_delivered(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(100):
            assert spool.append(f"n-1-{n}", b"x" * 200)
        assert len(list(tmp_path.glob("*.cdr"))) > 5
        for n in reversed(range(100)):
            spool.delivered(f"n-1-{n}")
        assert spool.bytes == 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0
    with opened(tmp_path) as spool:
        assert len(spool) == 0


def test_a_line_that_the_disk_spoilt_costs_no_other(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(3):
            spool.append(f"n-1-{n}", b'{"cdr":%d}' % n)
    (segment,) = tmp_path.glob("*.cdr")
    segment.write_bytes(segment.read_bytes().replace(b'{"cdr":1}', b'{"cdr":7}'))
    with opened(tmp_path) as spool:
        assert names(spool) == ["n-1-0", "n-1-2"]
        assert spool.damaged == 1


def test_a_disk_that_is_full_loses_nothing_that_was_there(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        assert spool.append("n-1-1", b"x" * 100)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))  # "File too large" is as good
        try:
            assert not spool.append("n-1-2", b"y" * 400)  # torn in the middle
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert spool.append("n-1-3", b"z")
        assert spool.lost == 1
    with opened(tmp_path) as spool:
        assert names(spool) == ["n-1-1", "n-1-3"]
        assert spool.damaged == 0


def test_two_bridges_never_share_a_directory(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(SpoolUnusable, match="in use by another bridge"):
        Spool(tmp_path, most_bytes=ROOM)
    with opened(tmp_path):
        pass


def test_a_directory_that_cannot_be_used_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for where in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SpoolUnusable):
            Spool(where, most_bytes=ROOM)


def test_a_cdr_that_waits_costs_its_bytes_and_not_a_page_of_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLED, str(tmp_path / "spool"), str(CDRS)],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert int(done.stdout) < 2_000, "a gigabyte of spool would be ten of memory"
