"""Which keys of a JWKS may verify logins, and with which algorithms (RFC 7517, 7518, 8037; 8725).

A key states its use (``use``, ``key_ops``, ``alg``), because providers publish encryption keys too.
A key is refused with a reason if it is for another use, too weak, private, or of an unsupported
curve.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from api.auth import edwards

# RFC 8725 §3.1: the service chooses a key's algorithms, not the token. No HS*:
# the holder of a public key must not be able to sign with it.
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_BY_CURVE: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),  # RFC 7518 §3.4: 521 bits, hash of 512
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
    ("OKP", "Ed448"): frozenset({"EdDSA"}),
}
ALGORITHMS: Final = _RSA.union(*_BY_CURVE.values())
LEAST_RSA_BITS: Final = 2048  # RFC 7518 §3.3
MOST_RSA_BITS: Final = 16_384  # a verification with a larger one holds the event loop
LEAST_RSA_EXPONENT: Final = 65_537  # FIPS 186-5 §A.1.1: 2^16 < e < 2^256
MOST_KEYS: Final = 100
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class UnusableKey(ValueError):
    """A key that verifies no login; the text is the reason."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key. ``fingerprint`` changes with anything that the JWK says."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any  # a public key of the library `cryptography`
    fingerprint: bytes


def read(text: bytes) -> tuple[list[VerificationKey], list[str]]:
    """The keys of a JWKS that verify logins, and the reason of each other one. Raises ValueError if
    it is no JWKS, or none of its keys can be used."""
    try:
        document = orjson.loads(text)
    except ValueError:
        raise ValueError("not a JWKS: it is not JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError('not a JWKS: it is no object with the list "keys"')
    if len(listed) > MOST_KEYS:
        raise ValueError(f"the JWKS has {len(listed)} keys")
    good: dict[bytes, VerificationKey] = {}
    refused: list[str] = []
    for number, jwk in enumerate(listed, 1):
        try:
            found = verification_key(jwk)
        except UnusableKey as error:
            refused.append(f"key {number}{_named(jwk)} {error}")
        else:
            good[found.fingerprint] = found  # the same one twice is one
    if not good:
        raise ValueError(
            f"the JWKS has no key that can be used: {'; '.join(refused) or 'it is empty'}"
        )
    return list(good.values()), refused


def verification_key(jwk: object) -> VerificationKey:
    """The public key that a JWK is. Raises :class:`UnusableKey`."""
    if not isinstance(jwk, dict):
        raise UnusableKey("is no object")
    kid, kind = jwk.get("kid"), jwk.get("kty")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= 256):
        raise UnusableKey("has a kid that is no string of 1 to 256 characters")
    if kind == "oct" or not _PRIVATE.isdisjoint(jwk):
        raise UnusableKey("is secret or private: publish public keys only")
    algorithms = _algorithms(jwk)
    _for_signatures(jwk)
    try:
        # Its own `alg` is judged above; which class of the library reads it depends on its kind.
        key = jwt.PyJWK({**jwk, "alg": min(algorithms)}).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise UnusableKey(f"cannot be read ({type(error).__name__})") from None
    if isinstance(key, RSAPublicKey):
        exponent, modulus = key.public_numbers().e, key.public_numbers().n
        if not LEAST_RSA_BITS <= key.key_size <= MOST_RSA_BITS:
            raise UnusableKey(f"has {key.key_size} bits, not {LEAST_RSA_BITS} to {MOST_RSA_BITS}")
        if exponent < LEAST_RSA_EXPONENT or exponent % 2 == 0 or exponent >= 1 << 256:
            raise UnusableKey(f"has a weak exponent, less than {LEAST_RSA_EXPONENT} or no odd one")
        if modulus % 2 == 0:  # anybody can factor it: a placeholder, or cut off
            raise UnusableKey("has an even modulus")
    if isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        wrong = edwards.objection(jwk["crv"], key.public_bytes_raw())
        if wrong is not None:
            raise UnusableKey(wrong)
    canonical = orjson.dumps(jwk, option=orjson.OPT_SORT_KEYS)
    return VerificationKey(kid, algorithms, key, hashlib.sha256(canonical).digest())


def _algorithms(jwk: Mapping[str, Any]) -> frozenset[str]:
    """By its kind and curve, and by ``alg`` where it has one (RFC 7517 §4.4)."""
    kind, curve, only = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if kind == "RSA":
        fitting = _RSA
    elif isinstance(kind, str) and isinstance(curve, str) and (kind, curve) in _BY_CURVE:
        fitting = _BY_CURVE[kind, curve]
    elif kind in ("EC", "OKP"):
        raise UnusableKey("has a curve without a signature that we take")
    else:
        raise UnusableKey("is neither RSA nor EC nor OKP")
    if only is None:
        return fitting
    if not isinstance(only, str) or only not in fitting:
        raise UnusableKey("has an alg that is none of its kind and curve, or none that we take")
    return frozenset({only})


def _for_signatures(jwk: Mapping[str, Any]) -> None:
    use, operations = jwk.get("use"), jwk.get("key_ops")
    if use is not None and use != "sig":  # RFC 7517 §4.2
        raise UnusableKey("is not for signatures (use)")
    if operations is not None and not (
        isinstance(operations, list)
        and all(isinstance(one, str) for one in operations)
        and len(set(operations)) == len(operations)  # RFC 7517 §4.3: no duplicates
        and "verify" in operations
    ):
        raise UnusableKey("is not for verification (key_ops)")


def _named(jwk: object) -> str:
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return f" ({kid[:40]!r})" if isinstance(kid, str) else ""
