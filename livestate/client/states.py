"""The states of a client's connection; ``make docs`` writes them for the JavaScript client."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

# connecting: no snapshot yet. starting: the service is up and not ready. live: a heartbeat agreed
# with the calls here, and events reach the service. stale: it agreed, but the service does not
# receive events. resyncing: the digest differed, a new snapshot is requested. disconnected: no
# stream. signed out: the service refuses the login (401, 403).
ConnectionState: TypeAlias = Literal[
    "connecting", "starting", "live", "stale", "resyncing", "disconnected", "signed out"
]
CONNECTION_STATES: Final[tuple[ConnectionState, ...]] = get_args(ConnectionState)
