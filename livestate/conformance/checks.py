"""The checks: what each promise looks like from outside, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from livestate.conformance.evidence import Evidence, Login
from livestate.conformance.http_checks import http_checks
from livestate.conformance.observation import Observation, Seen
from livestate.conformance.result import Found, Result

LATE_MS: Final = 1_000.0  # promise V: at most a second in calm
LAG_SECONDS: Final = 0.5  # of our own loop: beyond it, lateness is ours
FIRST_EVENT_SECONDS: Final = 5.0
HEARTBEAT_SECONDS: Final = 10.0
HELD_BACK_MS: Final = 2_500.0  # events made this far apart must not arrive together
TOGETHER_SECONDS: Final = 0.2
LINE_BYTES: Final = 49_152
LONGEST_RETRY_MS: Final = 10_000

KEPT: Final[Found] = ("kept", "")


def judge(evidence: Evidence) -> list[Result]:
    """All checks, in the order of the promises."""
    if evidence.unreachable is not None:
        return [Result("E", "the service answers", "not measured", evidence.unreachable)]
    return [*_stream_checks(evidence), *http_checks(evidence)]


def _stream_checks(evidence: Evidence) -> Iterator[Result]:
    for promise, title, check in (
        ("V", "every heartbeat's count and digest are those of the fold", _digests),
        ("V", "the JSON snapshot has the same records", _records),
        ("V", "no event comes more than 1 s late", _late),
        ("V", "records are flat, with state and v; data is JSON", _shapes),
        ("J", "a stream begins with a whole snapshot", _begins),
        ("J", "versions only rise, and heartbeats name the last one", _versions),
        ("J", "no part of a snapshot or diff is missing", _parts),
        ("S", "heartbeats come at least every 10 s and say how fresh the data is", _heartbeats),
        ("S", "nothing on the way holds the stream back", _buffering),
        ("E", "the first event's block has a retry", _retry),
        ("E", "no line is longer than 48 KB", _lines),
        ("E", "a compressed stream is delivered event by event", _compressed),
        ("E", "a stream goes on, or says goodbye before it ends", _goodbye),
    ):
        yield _over_streams(evidence, promise, title, check)
    yield Result("J", "a resumed stream gets one diff instead of a snapshot", *_resumed(evidence))
    yield Result(
        "E", "an unknown Last-Event-ID gets a snapshot, never an error", *_unknown(evidence)
    )
    yield Result("L", "a company's stream has its own calls only", *_own_calls(evidence))
    yield Result("L", "a filter for another company shows nothing of it", *_narrowed(evidence))


def _over_streams(
    evidence: Evidence, promise: str, title: str, check: Callable[[Observation, Evidence], Found]
) -> Result:
    """The worst that the check says of any stream."""
    worst: Found = ("not measured", "no stream could be opened")
    rank = {"broken": 0, "not measured": 1, "skipped": 2, "kept": 3}
    found = [
        _labelled(check(stream, evidence), login, stream, evidence)
        for login in evidence.logins
        for stream in login.long_streams
        if stream.status == 200
    ]
    refused = [
        stream.status
        for login in evidence.logins
        for stream in login.long_streams
        if stream.status != 200
    ]
    if found:
        worst = min(found, key=lambda one: rank[one[0]])
    elif refused:
        worst = ("not measured", f"streams were answered with {sorted(set(refused))}")
    return Result(promise, title, *worst)


def _labelled(found: Found, login: Login, stream: Observation, evidence: Evidence) -> Found:
    outcome, detail = found
    if not detail or outcome == "kept":
        return outcome, ""
    whose = "second token, " if login is evidence.second else ""
    which = "gzip" if stream is login.packed else "joined later" if stream is login.joined else ""
    label = (whose + which).strip(", ")
    return outcome, f"{label}: {detail}" if label else detail


def _digests(stream: Observation, evidence: Evidence) -> Found:
    if stream.disagreements:
        return "broken", stream.disagreements[0]
    if not stream.agreements:
        return "not measured", "no heartbeat came"
    return KEPT


def _records(stream: Observation, evidence: Evidence) -> Found:
    if stream.differences:
        return "broken", stream.differences[0]
    snapshot = evidence.answers.get("snapshot")
    if snapshot is None or snapshot.status_code != 200:
        return "not measured", "the snapshot could not be read"
    if stream.fold.calls and not stream.compared:
        return "not measured", "no snapshot had a record of the same version"
    return KEPT


def _timed(stream: Observation) -> list[Seen]:
    return [one for one in stream.named("diff", "heartbeat") if "as_of" in one.data]


def _late(stream: Observation, evidence: Evidence) -> Found:
    """The clocks may differ: what counts is an event's delay against the least one."""
    delays = [(one.wall_ms - one.data["as_of"], one) for one in _timed(stream)]
    if len(delays) < 2:
        return "not measured", "fewer than two diffs and heartbeats came"
    least, _ = min(delays, key=lambda one: one[0])
    most, event = max(delays, key=lambda one: one[0])
    if most - least <= LATE_MS:
        return KEPT
    detail = f"a {event.name} came {(most - least) / 1000:.1f} s later than others"
    if evidence.lag_seconds > LAG_SECONDS:
        return "not measured", f"{detail}, but this machine was {evidence.lag_seconds:.1f} s late"
    return "broken", detail


def _shapes(stream: Observation, evidence: Evidence) -> Found:
    if stream.garbage:
        return "broken", stream.garbage[0]
    for key, record in stream.fold.calls.items():
        wrong = [name for name, value in record.items() if isinstance(value, dict | list | None)]
        if wrong or not isinstance(record.get("v"), int) or "state" not in record:
            return "broken", f"call {key}: {', '.join(wrong) or 'no state or v'}"
    return KEPT


def _begins(stream: Observation, evidence: Evidence) -> Found:
    events = stream.named("snapshot", "diff", "heartbeat", "goodbye")
    if not events:
        return "broken", f"no event within {evidence.seconds:g} s of the response"
    if events[0].name == "goodbye":
        return "not measured", f"the service refused with goodbye {events[0].data.get('reason')}"
    if events[0].name != "snapshot":
        return "broken", f"the first event is a {events[0].name}"
    if not stream.fold.complete or not stream.fold.last_id:
        return "broken", "the snapshot never became whole, or has no id"
    return KEPT


def _versions(stream: Observation, evidence: Evidence) -> Found:
    last, tag, previous = -1, "", ""
    for one in stream.named("snapshot", "diff", "heartbeat"):
        if one.name == "heartbeat":
            version = one.data.get("version")
            if last >= 0 and version != last:
                return "broken", f"a heartbeat names version {version} after the id …-{last}"
        elif one.id and one.id != previous:
            previous = one.id
            now, _, number = one.id.rpartition("-")
            if not number.isdigit():
                return "broken", f"the id {one.id!r} has no version"
            if now == tag and int(number) <= last:
                return "broken", f"the id {one.id} came after version {last}"
            last, tag = int(number), now
    return KEPT


def _parts(stream: Observation, evidence: Evidence) -> Found:
    expected: tuple[str, int, int] | None = None
    for one in stream.named("snapshot", "diff"):
        part, parts = one.data.get("part", 1), one.data.get("parts", 1)
        if (part == 1) != (expected is None) or (part > 1 and (one.name, part, parts) != expected):
            return "broken", f"part {part} of {parts} of a {one.name}, where {expected} was due"
        expected = None if part == parts else (one.name, part + 1, parts)
    return KEPT


def _heartbeats(stream: Observation, evidence: Evidence) -> Found:
    beats = stream.named("heartbeat")
    if not beats:
        return "broken", f"none within {evidence.seconds:g} s"
    for one in beats:
        source = one.data.get("source")
        if source not in ("live", "stale") or (source == "stale" and "stale_since" not in one.data):
            return "broken", f"source is {source!r}, stale_since {one.data.get('stale_since')!r}"
    gaps = [later.at - one.at for one, later in pairwise(beats)]
    if gaps and max(gaps) > HEARTBEAT_SECONDS + evidence.lag_seconds:
        return "broken", f"none for {max(gaps):.1f} s"
    return KEPT


def _buffering(stream: Observation, evidence: Evidence) -> Found:
    if not stream.events:
        return "broken", (
            f"the response began, and no event came for {evidence.seconds:g} s: something between "
            "here and the service collects it. Switch buffering off there (docs/proxies.md)."
        )
    first = stream.events[0].at - stream.responded_at
    if first > FIRST_EVENT_SECONDS + evidence.lag_seconds:
        return "broken", f"the first event came {first:.1f} s after the response (docs/proxies.md)"
    timed = _timed(stream)
    first_of_burst = 0
    for later in timed:
        while later.at - timed[first_of_burst].at > TOGETHER_SECONDS:
            first_of_burst += 1
        apart = later.data["as_of"] - timed[first_of_burst].data["as_of"]
        if apart > HELD_BACK_MS + evidence.lag_seconds * 1000:
            return "broken", (
                f"events of {apart / 1000:.1f} s arrived together: something between here and the "
                "service collects the stream. Switch buffering off there (docs/proxies.md)."
            )
    return KEPT


def _retry(stream: Observation, evidence: Evidence) -> Found:
    text = stream.head.replace(b"\r\n", b"\n")
    if not text:
        return "not measured", "nothing came"
    block = text.lstrip(b"\n").partition(b"\n\n")[0].split(b"\n")
    found = [line.partition(b":")[2].strip() for line in block if line.startswith(b"retry:")]
    if not found or not found[0].isdigit():
        return "broken", "the first block has no retry"
    if not any(line.startswith(b"data:") for line in block):
        return "broken", "retry stands alone: some clients take that for an empty message"
    if int(found[0]) > LONGEST_RETRY_MS:
        return "broken", f"retry is {int(found[0])} ms: a wall is to be live again within 10 s"
    return KEPT


def _lines(stream: Observation, evidence: Evidence) -> Found:
    longest = max((one.data_bytes + len("data: \n") for one in stream.events), default=0)
    return KEPT if longest <= LINE_BYTES else ("broken", f"{longest} bytes")


def _compressed(stream: Observation, evidence: Evidence) -> Found:
    if stream.response.get("content-encoding") != "gzip":
        return KEPT  # a stream that was not asked for, or a service that does not compress
    if stream.ended is not None and not stream.named("goodbye"):
        return "broken", stream.ended
    return _buffering(stream, evidence)


def _goodbye(stream: Observation, evidence: Evidence) -> Found:
    if stream.ended is None or stream.named("goodbye"):
        return KEPT
    return "broken", f"after {len(stream.events)} events: {stream.ended}"


def _resumed(evidence: Evidence) -> Found:
    if not evidence.resumed:
        return "not measured", "no stream had a position"
    for how, (position, stream) in evidence.resumed.items():
        events = stream.named("snapshot", "diff", "heartbeat")
        if not events:
            return "broken", f"by {how}: nothing came after {position}"
        if events[0].name == "snapshot":
            return "broken", f"by {how}: a snapshot came for {position}, moments after it"
        if stream.disagreements:
            return "broken", f"by {how}: {stream.disagreements[0]}"
        if not stream.agreements:
            return "not measured", f"by {how}: no heartbeat came"
    return KEPT


def _unknown(evidence: Evidence) -> Found:
    if not evidence.unknown:
        return "not measured", "no stream was asked for"
    for position, stream in evidence.unknown:
        if stream.status != 200:
            return "broken", f"{position[:24]!r}: {stream.status}"
        if stream.events and stream.events[0].name not in ("snapshot", "goodbye"):
            return "broken", f"{position[:24]!r}: a {stream.events[0].name}"
    return KEPT


def _own_calls(evidence: Evidence) -> Found:
    companies = [login for login in evidence.logins if login.company is not None]
    if not companies:
        return "skipped", "needs a token of one company (--second-token)"
    seen = 0
    for login in companies:
        for stream in login.streams:
            for one in stream.named("snapshot", "diff"):
                for key, record in one.data.get("calls", {}).items():
                    owner = (record or {}).get("company_id", login.company)
                    seen += record is not None
                    if owner != login.company:
                        return "broken", f"call {key} of {owner!r} reached {login.company!r}"
    return KEPT if seen else ("not measured", "no call of the company was up")


def _narrowed(evidence: Evidence) -> Found:
    streams = [login.other_company for login in evidence.logins if login.other_company is not None]
    if not streams:
        return "skipped", "needs a token of one company (--second-token)"
    if any(one.status not in (200, 400, 403) for one in streams):
        return "broken", f"answered {[one.status for one in streams]}"
    return KEPT
