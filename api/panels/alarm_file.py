"""What the operator says of alarms: a TOML file with one table a rule.

Named by ``LIVESTATE_ALARMS`` and read again when it changes. A missing value keeps its default,
and a bad value is reported and keeps it too; nothing else is lost. If the file cannot be read or is
no TOML, the last good one applies.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Callable
from typing import Any, Final

from api.panels.watched_file import WatchedFile
from livestate.state.alarms.rules import DEFAULTS, FIGURES, Rule, Rules

log = logging.getLogger("livestate.alarms")

MAX_BYTES: Final = 256 * 1024
MOST_SHOWN: Final = 20  # bad values in the log, and in a document
MOST_SECONDS: Final = 86_400
LIMITS: Final = ("warning", "alarm")
TIMES: Final = {"raise_after_seconds": "raise_ms", "clear_after_seconds": "clear_ms"}
# Rules of calls. A trunk's capacity and the feed say nothing of one company.
OF_COMPANIES: Final = frozenset({*FIGURES, "trunk_asr_drop"})


class AlarmFile(WatchedFile):
    """The rules of the file, and what is wrong with it. Without a path they are the defaults."""

    def __init__(self, path: str | None, changed: Callable[[Rules], None]) -> None:
        super().__init__(path, name="the alarm file", max_bytes=MAX_BYTES, log=log)
        self.rules: Rules = DEFAULTS
        self.bad: list[str] = []
        self._changed = changed

    def use(self, raw: bytes) -> None:
        """Take the rules of a new file. Raises ValueError if it is no TOML."""
        self.rules, self.bad = parse(raw)
        self._changed(self.rules)
        log.info("read the alarm file: bad=%d", len(self.bad))
        for one in self.bad[:MOST_SHOWN]:
            log.warning("ignored a value of the alarm file: reason=%s", one)

    def status(self) -> dict[str, object]:
        """What is wrong with the file, for documents and ``/statusz``."""
        return {"trouble": self.trouble, "bad": self.bad[:MOST_SHOWN]}


def parse(raw: bytes) -> tuple[Rules, list[str]]:
    """The rules of a file, and what is ignored in it. Raises ValueError if it is no TOML. Pure."""
    try:
        tables = tomllib.loads(raw.removeprefix(b"\xef\xbb\xbf").decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start + 1}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"it is not TOML: {error}") from None
    rules, bad = dict(DEFAULTS), list[str]()
    for name, table in tables.items():
        if name not in rules:
            known = ", ".join(DEFAULTS)
            bad.append(f"[{name[:40]}] is no rule; there are {known}")
        elif not isinstance(table, dict):
            bad.append(f"{name} is no table: write [{name}] on a line of its own")
        else:
            rules[name] = _rule(rules[name], table, bad)
    return rules, bad


def _rule(rule: Rule, table: dict[str, Any], bad: list[str]) -> Rule:
    """The rule with what a table says of it; each value that is ignored goes to ``bad``."""
    changes: dict[str, Any] = {}
    for name, value in table.items():
        where = f"[{rule.name}] {name[:40]}"
        if name in LIMITS:
            if value is False:
                changes[name] = None
            elif type(value) in (int, float) and 0 <= value < 1e12:
                changes[name] = float(value)
            else:
                bad.append(f"{where} is neither a number from 0 on nor false, which is no limit")
        elif name in TIMES:
            if type(value) in (int, float) and 0 <= value <= MOST_SECONDS:
                changes[TIMES[name]] = round(1000 * value)
            else:
                bad.append(f"{where} is no number of seconds from 0 to {MOST_SECONDS}")
        elif name == "companies" and rule.name in OF_COMPANIES:
            if isinstance(value, bool):
                changes[name] = value
            else:
                bad.append(f"{where} is neither true nor false")
        else:
            known = [*LIMITS, *TIMES, *(["companies"] if rule.name in OF_COMPANIES else [])]
            bad.append(f"{where} is no value of this rule; there are {', '.join(known)}")
    changed = rule._replace(**changes)
    if _crossed(changed):
        bad.append(
            f"[{rule.name}] the alarm would come before the warning: "
            f"{'below' if rule.low_is_bad else 'above'} is worse; both limits keep their defaults"
        )
        return changed._replace(warning=rule.warning, alarm=rule.alarm)
    return changed


def _crossed(rule: Rule) -> bool:
    if rule.warning is None or rule.alarm is None:
        return False
    return rule.alarm > rule.warning if rule.low_is_bad else rule.alarm < rule.warning
