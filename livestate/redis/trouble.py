"""Says in plain words what an error of Redis means and what corrects it. Pure.

Used for logs, ``/statusz`` and ``livestate doctor``. The text of a server or library is kept: it
names the host, the command or the certificate. Mask the result before people see it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from redis import exceptions

URL: Final = "LIVESTATE_REDIS_URL"
_UNKNOWN: Final = re.compile(
    r"unknown (?:sub)?command '?([A-Za-z|_-]+)|Unknown Redis command", re.I
)
_AWAY: Final = (
    "start it, or correct LIVESTATE_REDIS_URL; streams continue without it, but a restart of the "
    "service then begins with the nodes' lists"
)


class Trouble(NamedTuple):
    """What is wrong, and what corrects it."""

    what: str
    mend: str


def explain(error: BaseException) -> Trouble:
    """The meaning of what the Redis client raised."""
    text = str(error) or type(error).__name__
    for kind, what, mend in _BY_CLASS:
        if isinstance(error, kind):
            return Trouble(f"{what}: {text}", mend)
    for pattern, what, mend in _BY_TEXT:
        if pattern.search(text):
            return Trouble(f"{what}: {text}", mend)
    return Trouble(text, _AWAY)


def is_unknown_command(error: BaseException) -> bool:
    """Whether the server (or a proxy) has this command disabled or renamed."""
    return isinstance(error, exceptions.ResponseError) and bool(_UNKNOWN.search(str(error)))


_ACL: Final = "deploy/redis-acl.conf has the rule for this user; `livestate doctor` names each gap"
# The first that fits counts: a subclass stands before its class.
_BY_CLASS: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
    (exceptions.MovedError, "it is a node of a Redis Cluster, and another node has our keys",
     f"set {URL}=redis+cluster://host:port,host:port (rediss+cluster:// with TLS)"),
    (exceptions.AskError, "the cluster is moving our keys to another node",
     "nothing: writes continue when the slot has moved"),
    (exceptions.TryAgainError, "the cluster is moving our keys to another node",
     "nothing: writes continue when the slot has moved"),
    (exceptions.ClusterCrossSlotError, "a cluster or proxy does not see that our keys share a slot",
     "all names share the hash tag {…active_calls}: a proxy must not rename keys"),
    (exceptions.MasterDownError, "it is a replica that has lost its primary",
     f"point {URL} to the primary, or let redis+sentinel:// find it"),
    (exceptions.ClusterDownError, "the cluster is down", "see CLUSTER INFO on one of its nodes"),
    (exceptions.ReadOnlyError, "it is a replica and takes no writes",
     f"point {URL} to the primary, or let redis+sentinel:// find it"),
    (exceptions.BusyLoadingError, "it still loads its data", "wait; the service waits too"),
    (exceptions.OutOfMemoryError, "its memory is full",
     "raise its maxmemory, or find out what else fills it"),
    (exceptions.NoPermissionError, "a right is missing", _ACL),
    (exceptions.MaxConnectionsError, "all our connections to it are in use", "wait"),
)  # fmt: skip
_CERTIFICATE: Final = "correct the server's certificate"
_BY_TEXT: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), what, mend)
    for pattern, what, mend in (
        # These two first: they quote what each server said.
        ("knows no group", "the Sentinels do not know this group",
         f"the name behind the hosts of {URL} must be that of `sentinel monitor <name>`"),
        ("no sentinel names", "no Sentinel says where the primary is",
         "start the Sentinels or correct their addresses; a password of their own is in "
         "LIVESTATE_REDIS_SENTINEL_PASSWORD"),
        ("no node of the cluster", "no node of the cluster answers",
         "start them, or correct their addresses"),
        ("hostname mismatch|ip address mismatch|not valid for",
         "its certificate is for another name than the one that is connected to",
         f"use a name of the certificate in {URL}, or add this one to the certificate. Sentinels "
         "name addresses unless they have `resolve-hostnames yes` and `announce-hostnames yes`"),
        ("certificate has expired|certificate expired", "a certificate has expired", "renew it; no "
         "restart of livestate is needed"),
        ("certificate is not yet valid", "its certificate is not valid yet",
         "compare the clocks of both machines"),
        ("self[- ]signed|unable to get (local )?issuer|unknown ca\\b|decrypt error"
         "|signature failure",
         "the certificate is of an authority that is not trusted",
         "name the CA of the server's certificate in LIVESTATE_REDIS_CA_FILE; the server needs the "
         "CA of ours (tls-ca-cert-file)"),
        ("certificate required|handshake failure|bad certificate|alert certificate",
         "it wants a client certificate that it trusts",
         "set LIVESTATE_REDIS_CERT_FILE and LIVESTATE_REDIS_KEY_FILE"),
        ("no tls handshake", "it does not answer, or does not speak TLS on this port",
         "see whether it runs; use redis:// instead of rediss://, or its TLS port"),
        ("wrong.version.number|record layer failure|unexpected eof|http.request",
         "it does not speak TLS on this port",
         "use redis:// instead of rediss://, or its TLS port"),
        ("certificate.verify.failed", "its certificate is refused", _CERTIFICATE),
        ("the CA file |the client certificate ", "TLS cannot begin",
         "the user of the service must be able to read this PEM file"),
        ("without any password configured", "its user default has no password",
         f"remove the password from {URL}, or set one with requirepass"),
        ("invalid username-password|invalid password|wrongpass", "it refuses the login",
         f"compare user and password with {URL} (percent-encoded there) and "
         "LIVESTATE_REDIS_PASSWORD (as it is)"),
        ("authentication required|noauth", "it requires a login",
         f"{URL}=redis://user:password@host, or LIVESTATE_REDIS_PASSWORD_FILE"),
        ("cluster support disabled", "it is no node of a cluster", "use redis:// instead"),
        ("db index is out of range|invalid db index|invalid database",
         "it has no database of this number", f"correct the number at the end of {URL}"),
        ("select is not allowed in cluster mode", "a cluster has database 0 only",
         f"remove the number at the end of {URL}"),
        ("misconf", "it takes no writes because it cannot save to its disk", "see its log"),
        ("noreplicas", "it takes no writes because too few replicas are connected",
         "see min-replicas-to-write"),
        ("max number of clients", "it takes no more clients", "raise its maxclients"),
        (_UNKNOWN.pattern, "a command is disabled or renamed",
         "livestate needs the commands of deploy/redis-acl.conf; a proxy may have fewer"),
        ("name or service not known|failure in name resolution|no address associated|nodename",
         "its name is not known", f"correct the host of {URL}, or the resolver of this machine"),
        ("connection closed by server|connection reset|connection lost",
         "it closes the connection",
         "see its log. rediss:// is for a server with TLS, redis:// for one without; a server with "
         "TLS may also demand a client certificate (LIVESTATE_REDIS_CERT_FILE)"),
        ("timeout|timed out", "it does not answer", "see whether it runs, and what is in between"),
        ("refused|connect call failed", "no server is there", _AWAY),
    )
)  # fmt: skip
