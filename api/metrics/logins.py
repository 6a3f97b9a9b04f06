"""Logins: keys, revocations and sessions."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from api.auth.verifier import Verifier
from api.metrics.families import counter, counters, gauge


def login_metrics(verifier: Verifier) -> Iterator[Metric]:
    keys, revocations = verifier.keys, verifier.revocations
    sessions = verifier.sessions
    refreshes = dict.fromkeys(("done", "refused", "failed"), 0)
    yield gauge("livestate_login_keys", "Keys that tokens may be signed with.", len(keys.keys))
    yield gauge(
        "livestate_login_keys_unreadable",
        "1 while the JWKS cannot be read and the last good keys are in use.",
        keys.trouble is not None,
    )
    yield counter(
        "livestate_login_keys_failures",
        "Failed reads of the JWKS; the last good keys stay in use.",
        keys.failures,
    )
    yield gauge(
        "livestate_revocations",
        "Names on the list of revocations in use.",
        len(revocations.names),
    )
    yield gauge(
        "livestate_revocations_unreadable",
        "1 while the list of revocations cannot be read and the last good one is in use.",
        revocations.trouble is not None,
    )
    yield counter(
        "livestate_revocations_failures",
        "Failed reads of the list of revocations.",
        revocations.failures,
    )
    yield gauge(
        "livestate_logouts",
        "Ended logins whose tokens have not expired yet.",
        len(verifier.logouts),
    )
    yield gauge(
        "livestate_sessions",
        "Sessions of browsers that this instance has in memory.",
        len(sessions) if sessions else 0,
    )
    yield counters(
        "livestate_session_refreshes",
        "Sessions refreshed at the identity provider, by result.",
        "result",
        refreshes | (sessions.refreshes if sessions else {}),
    )
    yield gauge(
        "livestate_identity_provider_up",
        "1 while the identity provider was read without an error, or none is set.",
        sessions is None or sessions.provider.readable,
    )
