"""What ``livestate doctor`` finds about ``LIVESTATE_BIND`` and ``LIVESTATE_ADMIN_BIND``."""

from __future__ import annotations

from pathlib import Path

from api.cli.finding import Finding
from api.http.listener import socket_path
from livestate.devtools.child_process import is_free


def address_finding(name: str, address: str) -> Finding:
    """Whether the setting ``name`` can be listened on."""
    path = socket_path(address)
    if path is not None:
        return _socket(address, Path(path))
    host, _, port = address.rpartition(":")
    if name == "ADMIN_BIND" and host not in ("127.0.0.1", "localhost", "[::1]"):
        return Finding(
            "odd",
            f"LIVESTATE_ADMIN_BIND {address} can be reached from elsewhere",
            "metrics and state have no login: keep them inside",
        )
    if not is_free(int(port)):
        return Finding(
            "odd",
            f"LIVESTATE_{name} {address} is already in use",
            "the service itself? else choose another port",
        )
    return Finding("good", f"LIVESTATE_{name} {address} is free")


def _socket(address: str, path: Path) -> Finding:
    if not path.parent.is_dir():
        return Finding(
            "bad",
            f"LIVESTATE_BIND {address}: there is no directory {path.parent}",
            "RuntimeDirectory=livestate makes /run/livestate for the service",
        )
    if path.exists() and not path.is_socket():
        return Finding("bad", f"LIVESTATE_BIND {address}: the file is no socket", "remove it")
    return Finding("good", f"LIVESTATE_BIND {address} is a socket for its owner and group")
