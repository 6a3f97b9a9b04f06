"""The log as JSON objects, one a line, for collectors that index fields."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Final

import orjson

from livestate.process import logs

MOST_BYTES: Final = logs.LONGEST - 64  # longer lines are cut by the writer, which breaks the JSON
MOST_CHARS: Final = 1_000  # of each field then: escaped, a character takes up to six bytes

log = logging.getLogger("livestate.process")


class JsonFormatter(logging.Formatter):
    """A log record as one JSON object.

    ``event`` is the message before its values are put in: the same for every record of one log
    call, so that a collector can count and alert on it.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "event": str(record.msg),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        line = _line(fields)
        if len(line) > MOST_BYTES:  # the end of a trace says most
            line = _line(
                {
                    name: text[-MOST_CHARS:] if name == "exception" else text[:MOST_CHARS]
                    for name, text in fields.items()
                }
            )
        return line.decode()


def _line(fields: dict[str, str]) -> bytes:
    # orjson refuses half a surrogate pair, which a message can hold: text of strangers.
    whole = {k: v.encode("utf-8", "backslashreplace").decode() for k, v in fields.items()}
    return orjson.dumps(whole)


def use_json() -> None:
    """Format everything that is logged from here on as JSON, Python's warnings and an exception
    that ends the process too. Call it after ``logs.set_up``."""
    logs.use_formatter(JsonFormatter())
    logging.captureWarnings(True)
    sys.excepthook = lambda *error: log.critical("the process ends by an error", exc_info=error)
