"""The operator's file of trunks: a bad line is named and loses nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from api.panels.trunk_file import MAX_BYTES, MAX_TRUNKS, BadLine, TrunkFile, parse
from livestate.state.kpi.trunk_report import TrunkInfo

GOOD = b"gw-good,30,Good one,IT"


def test_lines_say_capacity_name_and_country() -> None:
    head = b"trunk,capacity,name,country\r\n\n# a comment\n"
    text = head + b'gw-a,150,"Carrier, of Milan",it\ngw-b\ngw-c,,Third\n'
    assert parse(text) == ({
        "gw-a": TrunkInfo(150, "Carrier, of Milan", "IT"),
        "gw-b": TrunkInfo(),
        "gw-c": TrunkInfo(None, "Third"),
    }, [])  # fmt: skip


def test_spreadsheets_write_semicolons_and_a_byte_order_mark() -> None:
    text = "\ufefftrunk;capacity;name;country\ngw-a;150;Però;IT\n".encode()
    assert parse(text) == ({"gw-a": TrunkInfo(150, "Però", "IT")}, [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"gw,many", "capacity"), (b"gw,-1", "capacity"), (b"gw,0", "capacity"),
        (b"gw,1.5", "capacity"), (b"gw,9999999999999999999999", "capacity"),
        ("gw,\u0663".encode(), "capacity"), (b"gw,1e3", "capacity"),
        (b",10", "0 characters"), (b"g" * 65 + b",10", "65 characters"),
        (b"gw,10,a\x1bb", "printable"), (b"gw,10," + b"n" * 65, "printable"),
        (b"gw,10,n,ITA", "country"), (b"gw,10,n,1T", "country"),
        (b"gw,10,n,IT,more", "5 columns"),
        (b"gw,10,\xe8", "not UTF-8"), (b'gw,10,"open', "not CSV"), (b'gw,10,"a"b', "not CSV"),
        (b"gw-good,99", "in line 1 already"), (b"a\x00b", "not printable"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_loses_nothing_else(line: bytes, reason: str) -> None:
    trunks, bad = parse(GOOD + b"\n" + line + b"\nlast,5\n")
    assert trunks["gw-good"] == TrunkInfo(30, "Good one", "IT")
    assert trunks["last"] == TrunkInfo(5)
    assert [one.line for one in bad] == [2]
    assert reason in bad[0].reason


def test_a_file_has_no_more_trunks_than_are_listed() -> None:
    trunks, bad = parse(b"\n".join(b"t%d" % n for n in range(MAX_TRUNKS + 2)))
    assert len(trunks) == MAX_TRUNKS
    assert [one.line for one in bad] == [MAX_TRUNKS + 1, MAX_TRUNKS + 2]


async def test_the_file_is_read_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "livestate.trunks")
    path, seen = tmp_path / "trunks.csv", list[Mapping[str, TrunkInfo]]()
    file = TrunkFile(str(path), seen.append)
    await file.refresh()
    assert (file.trunks, file.trouble) == ({}, "No such file or directory")
    path.write_bytes(b"gw,10\ngw,oops\n")
    await file.refresh()
    await file.refresh()
    assert [dict(one) for one in seen] == [{"gw": TrunkInfo(10)}]
    reason = "the capacity is not a whole number from 1 to 1000000, or empty"
    assert file.bad_lines == [BadLine(2, reason)]
    assert [record.message for record in caplog.records if "ignored a line" in record.message] == [
        f"ignored a line of the trunk file: line=2 reason={reason}"
    ]
    path.write_bytes(b"gw,20\nother\n")
    await file.refresh()
    assert seen[-1] == {"gw": TrunkInfo(20), "other": TrunkInfo()}
    path.write_bytes(b"x" * (MAX_BYTES + 1))
    await file.refresh()
    assert file.trouble is not None
    assert "bytes" in file.trouble
    assert file.trunks["gw"] == TrunkInfo(20)  # the last good one
    path.unlink()
    await file.refresh()
    path.write_bytes(b"gw,30\n")
    await file.refresh()
    assert (file.trouble, file.trunks) == (None, {"gw": TrunkInfo(30)})


async def test_without_a_file_nothing_is_read() -> None:
    file = TrunkFile(None, lambda trunks: None)
    await file.run()
    assert (file.configured, file.trunks) == (False, {})
