"""Single requests: logins, methods, representations and errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import httpx

from livestate.conformance.evidence import Evidence
from livestate.conformance.result import Found, Result

_PROBLEM: Final = "application/problem+json"


def http_checks(evidence: Evidence) -> Iterator[Result]:
    """The checks of ``evidence.answers``."""
    for promise, title, names, status in (
        ("A", "without a login: 401 and a problem document", ("no login", "no login, JSON"), 401),
        ("A", "with an invalid login: 401 and a problem document", ("invalid login",), 401),
        ("H", "Accept that excludes the stream: 406", ("not acceptable",), 406),
        ("H", "another method: 405 with Allow", ("method",), 405),
        ("H", "an unknown filter: 400", ("unknown filter",), 400),
        ("H", "an unknown call: 404", ("unknown call",), 404),
    ):
        found = [(name, evidence.answers.get(name)) for name in names]
        yield Result(promise, title, *_problems(found, status))
    yield Result(
        "H", "HEAD and Accept with parameters: the stream's headers, no body", *_heads(evidence)
    )
    yield Result("H", "no response may be cached", *_uncached(evidence))


def _problems(found: list[tuple[str, httpx.Response | None]], status: int) -> Found:
    for name, answer in found:
        if answer is None:
            return "not measured", f"{name}: no answer"
        if answer.status_code != status:
            return "broken", f"{name}: {answer.status_code}"
        if answer.headers.get("content-type", "").partition(";")[0] != _PROBLEM:
            kind = answer.headers.get("content-type")
            return "broken", f"{name}: {kind}; does a proxy put its own page in place of errors?"
        try:
            problem = answer.json()
            if problem["status"] != status or not problem["title"]:
                return "broken", f"{name}: the problem document says {problem}"
        except (ValueError, KeyError, TypeError):
            return "broken", f"{name}: {answer.content[:80]!r} is no problem document"
        if status == 401 and "www-authenticate" not in answer.headers:
            return "broken", f"{name}: no WWW-Authenticate (RFC 9110 §15.5.2)"
        if status == 405 and "allow" not in answer.headers:
            return "broken", f"{name}: no Allow (RFC 9110 §15.5.6)"
    return "kept", ""


def _heads(evidence: Evidence) -> Found:
    for name in ("head", "parameters"):
        answer = evidence.answers.get(name)
        if answer is None:
            return "not measured", f"{name}: no answer"
        if answer.status_code != 200:
            return "broken", f"{name}: {answer.status_code}"
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            return "broken", f"{name}: {answer.headers.get('content-type')}"
        if answer.content:
            return "broken", f"{name}: {len(answer.content)} bytes of body"
    return "kept", ""


def _uncached(evidence: Evidence) -> Found:
    answers = {
        "stream": evidence.first.plain.response.get("cache-control", "")
        if evidence.first.plain is not None
        else ""
    }
    snapshot = evidence.answers.get("snapshot")
    if snapshot is None:
        return "not measured", "snapshot: no answer"
    answers["snapshot"] = snapshot.headers.get("cache-control", "")
    for name, value in answers.items():
        if "no-store" not in value:
            return "broken", f"{name}: Cache-Control is {value!r}"
    return "kept", ""
