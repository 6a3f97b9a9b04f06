"""``LIVESTATE_LOG_FORMAT=json``: each line an object, whatever the message holds."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from api.cli.log_format import JsonFormatter
from livestate.process.logs import LONGEST


def formatted(message: Any, *arguments: Any, error: BaseException | None = None) -> dict[str, Any]:
    trace = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("livestate.x", logging.INFO, "", 0, message, arguments, trace)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_has_its_values_and_its_fixed_text() -> None:
    found = formatted("lost: node=%s calls=%d", "kam-1", 7)
    assert found["message"] == "lost: node=kam-1 calls=7"
    assert found["event"] == "lost: node=%s calls=%d"
    assert (found["level"], found["logger"]) == ("INFO", "livestate.x")
    assert found["time"].endswith("Z")


@pytest.mark.parametrize(
    "text", ['a"b', "two\nlines", "\x00\x1b[31m", "\ud800 half", "\u2028", "é"]
)
def test_text_of_strangers_breaks_no_line(text: str) -> None:
    found = formatted("a name: %s", text)
    assert found["message"].startswith("a name: ")


def test_an_exception_is_a_field() -> None:
    try:
        raise ValueError("wrong\nin two lines")
    except ValueError as error:
        found = formatted("a request failed", error=error)
    assert "Traceback" in found["exception"]
    assert "ValueError: wrong" in found["exception"]


def test_the_longest_line_stays_one_object() -> None:
    for text in ("x" * 50_000, "\x00" * 50_000, "é" * 50_000):
        found = formatted("long: %s", text)
        assert found["message"].startswith("long: ")
        assert len(json.dumps(found, ensure_ascii=False).encode()) < LONGEST


SCRIPT = """
import logging, sys, warnings
from livestate.process import logs
from api.cli.log_format import use_json
logs.set_up("INFO", "%(message)s")
use_json()
warnings.warn("an old habit", stacklevel=1)
for output in logs._outputs:
    output._untold = 7
logging.getLogger("livestate.x").info("redis at %s", "redis://me:secret@host/0")
raise ValueError("the end")
"""


def test_all_that_a_process_writes_is_json() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert any("an old habit" in line["message"] for line in lines)
    assert any(line["message"].endswith("standard error is not read: lines=7") for line in lines)
    assert any(line["message"] == "redis at redis://me:***@host/0" for line in lines)
    assert "ValueError: the end" in lines[-1]["exception"]
    assert "secret" not in done.stderr
