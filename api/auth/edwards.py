"""Whether the bytes of an Ed25519 or Ed448 public key are a point that can verify signatures.

:mod:`api.auth.jwk` calls :func:`objection` for each OKP key of a JWKS, because the library
`cryptography` takes any 32 or 57 bytes. With a point of small order a signature is valid for
one message in eight or for every message, without any private key (RFC 8032 §5.1.7 leaves that
check to the protocol; "Taming the many EdDSAs", 2020). Pure arithmetic, about 0.1 ms a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class _Curve:
    """The points with a·x² + y² = 1 + d·x²·y² modulo p. ``doublings``: log2 of the cofactor."""

    p: int
    a: int
    d: int
    doublings: int
    size: int  # bytes of an encoded point


_P25519: Final = 2**255 - 19
_CURVES: Final[Mapping[str, _Curve]] = {
    "Ed25519": _Curve(_P25519, -1, -121_665 * pow(121_666, -1, _P25519) % _P25519, 3, 32),
    "Ed448": _Curve(2**448 - 2**224 - 1, 1, -39_081, 2, 57),
}  # RFC 8032 §5.1, §5.2


def objection(curve_name: str, encoded: bytes) -> str | None:
    """Why these bytes are no public key of ``Ed25519`` or ``Ed448``; None for a sound one."""
    curve = _CURVES[curve_name]
    p = curve.p
    if len(encoded) != curve.size:
        return "has a point of another length"
    # RFC 8032 §5.1.3, §5.2.3: y in little endian, the last bit is the sign of x.
    number = int.from_bytes(encoded, "little")
    sign_bit = 8 * curve.size - 1
    y, odd = number & ((1 << sign_bit) - 1), number >> sign_bit
    if y >= p:
        return "has a point that is not encoded as RFC 8032 says"
    square = (y * y - 1) * pow(curve.d * y * y - curve.a, -1, p) % p
    x = _square_root(square, p)
    if x is None:
        return "has a point that is not on its curve"
    if x == 0 and odd:
        return "has a point that is not encoded as RFC 8032 says"
    for _ in range(curve.doublings):  # the sign of x does not matter for the order
        x, y = _doubled(x, y, curve)
    if (x, y) == (0, 1):
        return "has a point of small order: anybody could sign with it"
    return None


def _square_root(square: int, p: int) -> int | None:
    if p % 4 == 3:
        root = pow(square, (p + 1) // 4, p)
    else:  # p = 5 modulo 8
        root = pow(square, (p + 3) // 8, p)
        if root * root % p != square:
            root = root * pow(2, (p - 1) // 4, p) % p
    return root if root * root % p == square else None


def _doubled(x: int, y: int, curve: _Curve) -> tuple[int, int]:
    """The sum of a point with itself. The denominators are never 0 on these curves, which have no
    exceptional points."""
    p = curve.p
    product = curve.d * x * x * y * y
    return (
        2 * x * y * pow(1 + product, -1, p) % p,
        (y * y - curve.a * x * x) * pow(1 - product, -1, p) % p,
    )
