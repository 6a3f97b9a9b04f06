"""CDRs on this machine's disk: whatever kills us, each is there until NATS has it."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livestate.bridge.spool import Spool, SpoolUnusable
from livestate.nats.cdr_ids import KEY_FILE
from tests.examples import examples

ROOM = 1024 * 1024
SEGMENT = 2_000  # many of them in a short test
CDRS = 20_000
# In a process of its own, so that its memory holds nothing else.
FILLED = """
import os, sys
from pathlib import Path
import orjson
from bench.proc import rss_bytes as resident
from livestate.bridge.spool import Spool

spool = Spool(Path(sys.argv[1]), most_bytes=1 << 30)
before = resident()
for number in range(int(sys.argv[2])):
    cdr = {"phase": "ended", "call_id": f"{number}@10.0.0.1", "from": "x" * 300}
    assert spool.append(f"node-1-{number}", orjson.dumps(cdr))
    if number % 1000 == 999:
        spool.sync()
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
    settings = settings(max_examples=examples(60), stateful_step_count=40)


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
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_size} == {KEY_FILE}
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


def test_memory_holds_where_a_cdr_lies_and_not_the_cdr(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLED, str(tmp_path / "spool"), str(CDRS)],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert int(done.stdout) < 600, "a gigabyte of spool would take a gigabyte of memory"


def test_refused_calls_take_their_share_and_no_more(tmp_path: Path) -> None:
    with opened(tmp_path, most_bytes=40_000) as spool:
        for n in range(1_000):
            spool.append(f"r-1-{n}", b"x" * 100, refused=True)
        assert spool.refused > 20
        assert spool.bytes <= 5_000
        assert spool.lost_refused == 1_000 - spool.refused
        for n in range(200):
            assert spool.append(f"n-1-{n}", b"x" * 100), n
        assert spool.lost == 0


def test_refused_calls_give_up_their_room_to_others(tmp_path: Path) -> None:
    with opened(tmp_path, most_bytes=40_000) as spool:
        for n in range(30):
            assert spool.append(f"r-1-{n}", b"x" * 100, refused=True)
        kept = 0
        while spool.append(f"n-1-{kept}", b"x" * 100):
            kept += 1
        assert spool.refused == 0
        assert spool.lost_refused == 30
        assert spool.bytes <= 40_000
        assert names(spool) == [f"n-1-{n}" for n in range(kept)]
        spool.delivered("r-1-3")  # its answer was on the way: no error
    with opened(tmp_path, most_bytes=40_000) as spool:
        assert len(spool) == kept


def test_refused_calls_are_delivered_last(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(10):
            spool.append(f"r-1-{n}", b"{}", refused=True)
        spool.append("n-1-1", b"{}")
    with opened(tmp_path) as spool:
        assert names(spool) == ["n-1-1", *(f"r-1-{n}" for n in range(10))]
        assert [name for name, _ in spool.waiting(3)] == ["n-1-1", "r-1-0", "r-1-1"]


def test_a_spool_of_the_version_before_is_delivered(tmp_path: Path) -> None:
    """Files as 0.1 wrote them: lines, and notes of what was delivered beside them."""

    def line(rest: bytes) -> bytes:
        return b"%08x %b\n" % (crc32(rest), rest)

    (tmp_path / "lock").touch()
    (tmp_path / "000000000007.cdr").write_bytes(
        line(b'kam-1-1-5 {"a":1}') + line(b'kam-1-1-6 {"b": 2}') + b"torn in the midd"
    )
    (tmp_path / "000000000007.done").write_bytes(line(b"kam-1-1-5 "))
    (tmp_path / "000000000009.cdr").write_bytes(line(b"kam-1-1-8 {}"))
    with opened(tmp_path) as spool:
        assert spool.waiting(10) == [("kam-1-1-6", b'{"b": 2}'), ("kam-1-1-8", b"{}")]
        assert spool.knows("kam-1-1-5")
        assert spool.damaged == 0
        assert spool.append("kam-1-1-9", b"{}")
        for name in names(spool):
            spool.delivered(name)
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_size} == {KEY_FILE}


def test_files_that_are_not_ours_or_cannot_be_read_cost_no_others(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append("n-1-1", b"{}")
    (tmp_path / "copy of 000000000001.cdr").write_text("a backup")
    (tmp_path / "000000000004.cdr").mkdir()  # what reads like a file and is none
    (tmp_path / "000000000005.cdr").write_bytes(bytes(range(256)) * 40)
    with opened(tmp_path) as spool:
        assert names(spool) == ["n-1-1"]
        assert spool.damaged > 0
        assert spool.append("n-1-2", b"{}")
    with opened(tmp_path) as spool:
        assert names(spool) == ["n-1-1", "n-1-2"]


def test_a_cdr_that_the_disk_spoils_while_it_waits_costs_no_other(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(4):
            spool.append(f"n-1-{n}", b'{"cdr":%d}' % n)
        spool.sync()
        (segment,) = tmp_path.glob("*.cdr")
        with segment.open("r+b") as file:
            file.write(segment.read_bytes().replace(b'{"cdr":1}', b'{"cdr":7}'))
        assert [name for name, _ in spool.waiting(10)] == ["n-1-0", "n-1-2", "n-1-3"]
        assert spool.damaged == 1
        segment.write_bytes(b"")  # cut off, or on a disk that is gone
        assert spool.waiting(10) == []
        assert len(spool) == 0


def test_names_with_spaces_and_line_ends_come_back_as_they_were(tmp_path: Path) -> None:
    odd = ["kam 1-1-1", "kam\n1-1-2", "kamïl-1-3", "%20-1-4", "sbc1.example.com-1-5"]
    with opened(tmp_path) as spool:
        assert all(spool.append(name, b"{}") for name in odd)
        spool.sync()
        assert names(spool) == odd
    with opened(tmp_path) as spool:
        assert names(spool) == odd
        spool.delivered(odd[0])
    with opened(tmp_path) as spool:
        assert names(spool) == odd[1:]


def test_what_a_failed_fsync_may_have_lost_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it Linux takes the pages for clean: a second fsync would succeed for nothing."""
    fsync = os.fsync

    def fails(file: int) -> None:
        raise OSError(5, "Input/output error")

    with opened(tmp_path) as spool:
        spool.append("n-1-0", b'"old"')
        spool.sync()
        spool.append("n-1-1", b'"new"')
        spool.append("r-1-1", b'"refused"', refused=True)
        monkeypatch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="Input/output"):
            spool.sync()
        assert spool.dirty
        monkeypatch.setattr(os, "fsync", fsync)
        first = sorted(tmp_path.glob("*.cdr"))[0]
        spool.recover()
        spool.sync()
        assert not spool.dirty
        text = first.read_bytes()
        first.write_bytes(text[: text.index(b'"old"') + 6])  # as if the disk never got the rest
        assert spool.waiting(9) == [
            ("n-1-0", b'"old"'), ("n-1-1", b'"new"'), ("r-1-1", b'"refused"')
        ]  # fmt: skip
    with opened(tmp_path) as spool:
        assert names(spool) == ["n-1-0", "n-1-1", "r-1-1"]
