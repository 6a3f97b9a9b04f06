"""What a check found, as a table for people and as JUnit XML for a build server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias
from xml.etree import ElementTree as Xml

Outcome: TypeAlias = Literal["kept", "broken", "not measured", "skipped"]
Found: TypeAlias = tuple[Outcome, str]  # and a detail

PROMISES: Final = {
    "V": "the view is right and in time",
    "J": "joined without gap or overlap",
    "S": "quiet and blind look different",
    "E": "an EventSource lives",
    "L": "no company sees another's calls",
    "A": "only a valid login gets an answer",
    "H": "HTTP as the documents say",
}
CONFORMS, BROKEN, UNMEASURED = 0, 1, 3  # exit codes


class Result(NamedTuple):
    """One check: the promise's letter, what was looked at, and what was found."""

    promise: str
    title: str
    outcome: Outcome
    detail: str = ""


def exit_code(results: Iterable[Result]) -> int:
    """0: conforms. 1: something is broken. 3: not everything could be measured."""
    outcomes = {one.outcome for one in results}
    if "broken" in outcomes:
        return BROKEN
    return UNMEASURED if "not measured" in outcomes else CONFORMS


def table(results: Sequence[Result]) -> list[str]:
    """A line for each check, and its detail below where it is not kept."""
    lines = []
    for promise, about in PROMISES.items():
        mine = [one for one in results if one.promise == promise]
        if mine:
            lines.append(f"{promise}  {about}")
        for one in mine:
            lines.append(f"   {one.outcome:13} {one.title}")
            if one.detail:
                lines.append(f"   {'':13}   {one.detail}")
    return lines


def junit(results: Sequence[Result], url: str) -> str:
    """A JUnit test suite: a broken check is a failure, one that was not measured an error."""
    counts = {"tests": str(len(results))} | {
        name: str(sum(one.outcome == outcome for one in results))
        for name, outcome in (
            ("failures", "broken"),
            ("errors", "not measured"),
            ("skipped", "skipped"),
        )
    }
    suite = Xml.Element("testsuite", {"name": f"livestate conformance {url}"} | counts)
    tags = {"broken": "failure", "not measured": "error", "skipped": "skipped"}
    for one in results:
        case = Xml.SubElement(suite, "testcase", classname=f"promise.{one.promise}", name=one.title)
        if one.outcome in tags:
            Xml.SubElement(case, tags[one.outcome], message=one.detail)
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
