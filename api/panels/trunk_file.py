"""What the operator says of trunks: a CSV file with ``trunk,capacity,name,country`` a line.

Named by ``LIVESTATE_TRUNKS`` and read again when it changes. A bad line is reported with its number
and reason, and nothing else is lost: each line is parsed by itself, so a stray quote ends with its
line. If the file cannot be read, the last good one applies. Spreadsheets of many countries write
semicolons, so a line without a comma may have those.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from api.panels.watched_file import WatchedFile
from livestate.state.kpi.trunk_report import TrunkInfo

log = logging.getLogger("livestate.trunks")

MAX_BYTES: Final = 1024 * 1024
MAX_TRUNKS: Final = 1_000
MAX_CHARS: Final = 64
MAX_CAPACITY: Final = 1_000_000
MOST_SHOWN: Final = 20  # bad lines in the log, and in a document
COLUMNS: Final = ("trunk", "capacity", "name", "country")


class BadLine(NamedTuple):
    """A line that is ignored: its number from 1, and why."""

    line: int
    reason: str


class TrunkFile(WatchedFile):
    """The trunks of the file, and what is wrong with it. Without a path it is empty."""

    def __init__(self, path: str | None, changed: Callable[[Mapping[str, TrunkInfo]], None]):
        super().__init__(path, name="the trunk file", max_bytes=MAX_BYTES, log=log)
        self.trunks: Mapping[str, TrunkInfo] = {}
        self.bad_lines: list[BadLine] = []
        self._changed = changed

    def use(self, raw: bytes) -> None:
        """Take the lines of a new file. Logs those that are ignored."""
        self.trunks, self.bad_lines = parse(raw)
        self._changed(self.trunks)
        log.info("read the trunk file: trunks=%d bad=%d", len(self.trunks), len(self.bad_lines))
        for bad in self.bad_lines[:MOST_SHOWN]:
            log.warning("ignored a line of the trunk file: line=%d reason=%s", *bad)

    def status(self) -> dict[str, object]:
        """What is wrong with the file, for documents and ``/statusz``."""
        return {
            "trunks": len(self.trunks),
            "trouble": self.trouble,
            "bad": len(self.bad_lines),
            "bad_lines": [one._asdict() for one in self.bad_lines[:MOST_SHOWN]],
        }


def parse(raw: bytes) -> tuple[dict[str, TrunkInfo], list[BadLine]]:
    """The trunks of a file, and the lines that are ignored. Pure."""
    trunks: dict[str, TrunkInfo] = {}
    bad: list[BadLine] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            cells = _cells(line)
            if not lines and not bad and cells[0].lower() == COLUMNS[0]:
                continue  # the heading
            trunk, info = _trunk(cells)
            if trunk in lines:
                raise ValueError(f"the trunk is in line {lines[trunk]} already, which applies")
            if len(trunks) >= MAX_TRUNKS:
                raise ValueError(f"there are {MAX_TRUNKS} trunks already, the most of a file")
        except ValueError as error:
            bad.append(BadLine(number, str(error)))
            continue
        trunks[trunk], lines[trunk] = info, number
    return trunks, bad


def _cells(line: bytes) -> list[str]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start + 1}") from None
    delimiter = ";" if ";" in text and "," not in text else ","
    try:
        (cells,) = csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True)
    except csv.Error as error:
        raise ValueError(f"it is not CSV: {error}") from None
    return [cell.strip() for cell in cells]


def _trunk(cells: list[str]) -> tuple[str, TrunkInfo]:
    """The trunk that a line is about. Raises ValueError with what is wrong."""
    if len(cells) > len(COLUMNS):
        raise ValueError(f"it has {len(cells)} columns; there are {', '.join(COLUMNS)}")
    trunk, capacity, name, country = (*cells, "", "", "")[: len(COLUMNS)]
    if not 0 < len(trunk) <= MAX_CHARS:
        raise ValueError(f"the trunk has {len(trunk)} characters, not 1 to {MAX_CHARS}")
    if not trunk.isprintable():
        raise ValueError("the trunk is not printable")
    if capacity and not (
        capacity.isascii()
        and capacity.isdigit()
        and len(capacity) < 9
        and 0 < int(capacity) <= MAX_CAPACITY
    ):
        raise ValueError(f"the capacity is not a whole number from 1 to {MAX_CAPACITY}, or empty")
    if len(name) > MAX_CHARS or not name.isprintable():
        raise ValueError(f"the name is not a printable text of at most {MAX_CHARS} characters")
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise ValueError("the country is not a code of two letters (ISO 3166-1), such as IT")
    return trunk, TrunkInfo(
        int(capacity) if capacity else None, name or None, country.upper() or None
    )
