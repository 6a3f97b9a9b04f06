"""Keys that must not verify a login: weak ones, private ones, and points that are no public key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.utils import der_to_raw_signature

from api.auth.claims import Unauthenticated
from api.auth.jwk import UnusableKey, verification_key
from api.auth.keys import KeySet
from api.auth.verifier import Verifier
from tests.abuse import provider
from tests.abuse.provider import (
    AUDIENCE,
    EC,
    ED,
    ISSUER,
    RSA,
    claims,
    public,
    sign,
)

WEAK_RSA = rsa.generate_private_key(65_537, 1024)
P384, P521 = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())
KOBLITZ = ec.generate_private_key(ec.SECP256K1())
ED448 = ed448.Ed448PrivateKey.generate()


def ecdsa(key: Any, alg: str) -> str:
    """A good signature of whatever curve, with the hash that ``alg`` names."""
    signed = f"{provider.b64({'alg': alg, 'kid': 'it'})}.{provider.b64(claims())}"
    made = {"ES384": hashes.SHA384(), "ES512": hashes.SHA512()}.get(alg, hashes.SHA256())
    der = key.sign(signed.encode(), ec.ECDSA(made))
    return f"{signed}.{provider.b64(der_to_raw_signature(der, key.curve))}"


@pytest.mark.parametrize(
    ("key", "alg", "says", "gets_in"),
    [
        (RSA, "RS256", {"use": "sig", "alg": "RS256", "key_ops": ["verify"]}, True),
        (RSA, "RS256", {"use": "enc"}, False),
        (RSA, "RS256", {"use": "SIG"}, False),
        (RSA, "RS256", {"use": ["sig"]}, False),
        (RSA, "RS256", {"use": ""}, False),
        (RSA, "RS256", {"alg": "RSA-OAEP", "use": "enc"}, False),
        (RSA, "RS256", {"alg": "RSA-OAEP"}, False),
        (RSA, "RS256", {"alg": "RS512"}, False),
        (RSA, "PS256", {"alg": "RS256"}, False),
        (RSA, "RS512", {"alg": "RS512"}, True),
        (RSA, "RS256", {"alg": ["RS256"]}, False),
        (RSA, "RS256", {"alg": "none"}, False),
        (RSA, "RS256", {"alg": "HS256"}, False),
        (RSA, "RS256", {"key_ops": ["encrypt"]}, False),
        (RSA, "RS256", {"key_ops": []}, False),
        (RSA, "RS256", {"key_ops": "verify"}, False),
        (RSA, "RS256", {"key_ops": ["verify", "verify"]}, False),
        (RSA, "RS256", {"kid": 7}, False),
        (RSA, "RS256", {"kid": ""}, False),
        (WEAK_RSA, "RS256", {}, False),
        (EC, "ES256", {"alg": "ES256"}, True),
        (EC, "ES256", {"alg": "ES384"}, False),
        (EC, "ES256", {"crv": "P-384"}, False),
        (EC, "ES256", {"crv": "secp256k1"}, False),
        (EC, "ES384", {}, False),
        (P384, "ES384", {}, True),
        (P384, "ES256", {}, False),
        (P521, "ES512", {}, True),
        (KOBLITZ, "ES256K", {}, False),
        (KOBLITZ, "ES256", {"crv": "P-256"}, False),
        (ED, "EdDSA", {"use": "sig"}, True),
        (ED448, "EdDSA", {}, True),
        (ED, "EdDSA", {"crv": "X25519"}, False),
        (ED, "EdDSA", {"use": "enc"}, False),
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_what_a_key_says_of_itself_is_obeyed(
    tmp_path: Path, key: Any, alg: str, says: dict[str, Any], gets_in: bool
) -> None:
    """Beside a good key, which goes on working."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [public(ED, "good"), public(key, "it") | says]}))
    keys = KeySet(str(file))
    await keys.refresh()
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
    assert verifier.verify(sign(claims(), kid="good")).role == "noc"
    mixed = isinstance(key, ec.EllipticCurvePrivateKey) and not gets_in
    token = ecdsa(key, alg) if mixed else sign(claims(), key, alg, kid="it")
    if gets_in:
        assert verifier.verify(token).role == "noc"
    else:
        with pytest.raises(Unauthenticated):
            verifier.verify(token)


@pytest.mark.parametrize("exponent", [1, 3, 17, 65_536])
async def test_a_weak_exponent_and_a_private_key_are_refused_with_a_reason(
    tmp_path: Path, exponent: int
) -> None:
    weak = public(RSA, "weak") | {"e": provider.b64(exponent.to_bytes(3, "big").lstrip(b"\0"))}
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA)) | {"kid": "private"}
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [weak, private, None, public(ED, "ed")]}))
    keys = KeySet(str(file))
    await keys.refresh()
    assert [key.kid for key in keys.keys] == ["ed"]
    assert len(keys.refused) == 3
    assert "secret or private" in keys.refused[1]
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
    for kid in ("weak", "private"):
        with pytest.raises(Unauthenticated):
            verifier.verify(sign(claims(), RSA, "RS256", kid=kid))


@pytest.mark.parametrize("modulus", [1 << 2047, 6 << 2046])
async def test_a_modulus_that_anybody_can_factor_is_refused(tmp_path: Path, modulus: int) -> None:
    """As of a placeholder, or of a key whose end was lost."""
    file = tmp_path / "jwks.json"
    weak = public(RSA, "weak") | {"n": provider.b64(modulus.to_bytes(257, "big").lstrip(b"\0"))}
    file.write_text(json.dumps({"keys": [weak, public(ED, "ed")]}))
    keys = KeySet(str(file))
    await keys.refresh()
    assert [key.kid for key in keys.keys] == ["ed"]
    assert "even modulus" in keys.refused[0]


ZEROS = bytes(32)
P25519 = 2**255 - 19
ORDER_8 = ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
           "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")  # fmt: skip


def points_of_small_order() -> list[bytes]:
    """All eight of Ed25519, also as libraries decode them that do not mind how they are written
    (the list of libsodium's ``ge25519_has_small_order``)."""
    eighth = [int.from_bytes(bytes.fromhex(point), "little") for point in ORDER_8]
    return [
        (y | sign << 255).to_bytes(32, "little")
        for y in (0, 1, *eighth, P25519 - 1, P25519, P25519 + 1)
        for sign in (0, 1)
    ]


@pytest.mark.parametrize("point", points_of_small_order(), ids=bytes.hex)
def test_a_key_that_anybody_can_sign_with_is_refused(point: bytes) -> None:
    with pytest.raises(UnusableKey, match=r"small order|RFC 8032"):
        verification_key({"kty": "OKP", "crv": "Ed25519", "x": provider.b64(point)})


def test_without_the_check_such_a_key_verifies_a_forgery() -> None:
    """Why it is checked: (R, S) = (neutral point, 0) verifies under the neutral point's key."""
    neutral = (1).to_bytes(32, "little")
    ed25519.Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + ZEROS, b"whatever")


@pytest.mark.parametrize(
    ("curve", "point"),
    [
        ("Ed25519", (2).to_bytes(32, "little")), ("Ed25519", b"\xff" * 32),
        ("Ed25519", bytes(31)), ("Ed25519", b""), ("Ed448", bytes(57)), ("Ed448", b"\xff" * 57),
        ("Ed448", (1).to_bytes(57, "little")), ("Ed448", (1 | 1 << 455).to_bytes(57, "little")),
        ("Ed448", (2**448 - 2**224 - 2).to_bytes(57, "little")), ("Ed448", bytes(32)),
        ("X25519", (9).to_bytes(32, "little")), ("X448", (5).to_bytes(56, "little")),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else None,
)  # fmt: skip
def test_a_point_that_is_no_public_key_is_refused(curve: str, point: bytes) -> None:
    with pytest.raises(UnusableKey):
        verification_key({"kty": "OKP", "crv": curve, "x": provider.b64(point)})


@pytest.mark.parametrize(("x", "y"), [(ZEROS, ZEROS), (b"\1" * 32, b"\2" * 32), (b"\xff" * 32,) * 2,
                                      (b"", b""), (b"\1" * 33, b"\2" * 33)])  # fmt: skip
def test_a_point_off_its_curve_is_refused(x: bytes, y: bytes) -> None:
    with pytest.raises(UnusableKey):
        verification_key({"kty": "EC", "crv": "P-256", "x": provider.b64(x), "y": provider.b64(y)})


def test_every_honest_point_is_taken() -> None:
    for _ in range(50):
        for made in (ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()):
            verification_key(public(made, "it"))
