"""Request heads: h11's parser, limited to what this service answers.

A request without a path, with an impossible host, a path too long or headers too large raises h11's
own error with the status to answer. The others keep only the headers that the service reads
(:mod:`api.http.headers`). Pure: bytes in, events out.
"""

from __future__ import annotations

import re
from typing import Any, Final

import h11

from api.http.headers import MAX_TARGET_BYTES, TooLarge, only_used

MAX_HEAD_BYTES: Final = 32 * 1024
# RFC 9110 §7.2, as far as it names a machine; what is none makes a URL parser raise.
_HOST: Final = re.compile(
    rb"([A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63}){0,126}\.?|"
    rb"\[[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9._~-]{1,32})?\])(:[0-9]{1,5})?"
)
_ABSOLUTE: Final = re.compile(rb"https?://(?P<host>[^/?#]+)(?P<path>.*)", re.IGNORECASE)
# No id is an error, and these are: NUL and its like in a header, which may be refused or read as
# spaces (RFC 9110 §5.5).
_ID_LINE: Final = re.compile(rb"\nlast-event-id:[^\r\n]*", re.IGNORECASE)
_SPACES: Final = bytes.maketrans(b"\0\v\f", b"   ")


class PlainRequests(h11.Connection):
    """h11's parser, of requests for paths. ``endless``: the response under way may never end, so
    the caller goes on reading, or it would not notice that the client leaves."""

    bodiless = False  # the answer to the last request
    prefix = b""  # of paths, removed where it is
    endless = False

    def receive_data(self, data: bytes) -> None:
        if self.their_state is h11.IDLE:
            data = _ID_LINE.sub(lambda line: line[0].translate(_SPACES), data)
        super().receive_data(data)

    def next_event(self) -> Any:
        event = super().next_event()
        if event is h11.PAUSED and self.endless:
            return h11.NEED_DATA
        if not isinstance(event, h11.Request):
            return event
        self.bodiless = event.method == b"HEAD"
        if event.http_version not in (b"1.1", b"1.0"):
            raise h11.RemoteProtocolError("another version", error_status_hint=505)
        target, host = _path_and_host(event.target)
        if not target.startswith(b"/"):  # "*", or what no URL parser likes
            raise h11.RemoteProtocolError("not a path", error_status_hint=400)
        headers = [
            (name, value if host is None or name != b"host" else host)
            for name, value in event.headers
        ]
        if not all(_HOST.fullmatch(value) for name, value in headers if name == b"host"):
            raise h11.RemoteProtocolError("not a host", error_status_hint=400)
        if len(target) > MAX_TARGET_BYTES:
            raise h11.RemoteProtocolError("the path is too long", error_status_hint=414)
        try:
            kept = only_used(headers)
        except TooLarge as error:
            raise h11.RemoteProtocolError(str(error), error_status_hint=431) from None
        # ``_parsed``: these are bytes that h11 has read and judged a moment ago.
        return h11.Request(
            method=event.method,
            target=_below(self.prefix, target),
            headers=kept,
            http_version=event.http_version,
            _parsed=True,
        )


def _path_and_host(target: bytes) -> tuple[bytes, bytes | None]:
    """The path with its query, and the host that counts instead of the header's; None: that one
    counts. Proxies and some clients send the absolute form, which every server must accept
    (RFC 9112 §3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return target, None
    path = absolute["path"]
    return path if path.startswith(b"/") else b"/" + path, absolute["host"]


def _below(prefix: bytes, target: bytes) -> bytes:
    """The target without the path that the service is published below. A proxy may have removed
    that already: then nothing changes."""
    rest = target[len(prefix) :]
    if not prefix or not target.startswith(prefix) or rest[:1] not in (b"", b"/", b"?"):
        return target
    return rest if rest.startswith(b"/") else b"/" + rest


def whole_request(data: bytes, prefix: bytes = b"") -> h11.Request | None:
    """The request that ``data`` is, if it is one and nothing else: nothing is missing, and nothing
    comes behind it. ``prefix`` is removed from its path."""
    parser = PlainRequests(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    parser.prefix = prefix
    try:
        parser.receive_data(data)
        request, end = parser.next_event(), parser.next_event()
    except h11.RemoteProtocolError:
        return None
    alone = isinstance(end, h11.EndOfMessage) and parser.trailing_data == (b"", False)
    return request if isinstance(request, h11.Request) and alone else None
