"""The opaque names of calls.

A Call-ID is chosen by a user agent, so it identifies nothing by itself: two companies, a retry or a
fork may use the same one. A call is (node, dialog, Call-ID), and clients see a keyed hash of the
three. It never merges two calls, and without the secret it tells nothing about them.
"""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import blake2b
from typing import Final

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class CallKeys:
    """Makes keys with one secret: the same call has the same key as long as the secret is kept."""

    def __init__(self, secret: bytes) -> None:
        self._hasher = blake2b(digest_size=12, key=secret)

    def key_of(self, node: str, dialog: str, call_id: str) -> str:
        """16 characters that are safe in a URL."""
        # The length of ``dialog`` tells where it ends, whatever characters the three hold.
        identity = f"{node}\0{len(dialog)}\0{dialog}{call_id}"
        hasher = self._hasher.copy()
        hasher.update(identity.encode("utf-8", "replace"))
        encoded = b2a_base64(hasher.digest(), newline=False)
        return encoded.translate(_URL_SAFE).decode("ascii")

    def first_version(self, epoch: str, evictions: int, company: str) -> int:
        """A number between 2⁴⁰ and 2⁵¹ at which the versions of an evicted company's new view
        begin, see :meth:`livestate.state.views.Views.evict`."""
        hasher = self._hasher.copy()
        hasher.update(f"{epoch}\0{evictions}\0{company}".encode("utf-8", "replace"))
        return (1 << 40) + int.from_bytes(hasher.digest()[:8]) % (1 << 50)
