"""An identity provider as the tests play it, and who pretends to be one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER, AUDIENCE = "https://login.example", "livestate"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
RETIRING = ed25519.Ed25519PrivateKey.generate()  # taken out of the set in a test
STRANGER = ed25519.Ed25519PrivateKey.generate()
SECRET = b"x" * 32


def public(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm = {rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
                 ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
                 ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm}  # fmt: skip
    (made,) = (a for kind, a in algorithm.items() if isinstance(key, kind))
    return json.loads(made.to_jwk(key.public_key())) | {"kid": kid, **more}


def publish(path: Path, **keys: Any) -> None:
    """A JWKS file of these keys by kid, and of a secret that must not be in one."""
    secret = {"kty": "oct", "kid": "secret", "k": b64(SECRET)}
    told = [public(key, kid) for kid, key in keys.items()]
    path.write_text(json.dumps({"keys": [*told, secret]}))


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones; ``...`` takes one away."""
    now = int(time.time())
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "role": "noc", "exp": now + 600} | changes
    return {name: value for name, value in told.items() if value is not ...}


def sign(told: Any, key: Any = ED, alg: str = "EdDSA", **headers: Any) -> str:
    """A signature on whatever is to be signed, also on what is no claims at all."""
    raw = told if isinstance(told, bytes) else json.dumps(told).encode()
    return jwt.api_jws.encode(raw, key, algorithm=alg, headers={"kid": "ed"} | headers)


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(listener: str) -> dict[str, str]:
    """Tokens that nobody of ours made, by what is wrong; some say that their key is at
    ``listener``."""
    good = sign(claims())
    head, body, signature = good.split(".")
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    confused = b64({"alg": "HS256", "kid": "rsa"}) + "." + b64(claims())
    mac = b64(hmac.new(pem, confused.encode(), hashlib.sha256).digest())
    by_stranger = {
        f"key at {name}": sign(claims(), STRANGER, **{name: listener}) for name in ("jku", "x5u")
    }
    return by_stranger | {
        "no base64": "a.b.c",
        "dots": "." * 5,
        "9 KB": "x" * 9_000,
        "40 KB": "x" * 40_000,
        "alg none": f"{b64({'alg': 'none'})}.{body}.",
        "alg nOnE": f"{b64({'alg': 'nOnE', 'kid': 'ed'})}.{body}.{signature}",
        "alg none, unsigned": sign(claims(), None, "none"),
        "alg a list": f"{b64({'alg': ['EdDSA'], 'kid': 'ed'})}.{body}.{signature}",
        "no alg": f"{b64({'kid': 'ed'})}.{body}.{signature}",
        "changed body": f"{head}.{b64(claims(role='admin'))}.{signature}",
        "no signature": f"{head}.{body}.",
        "HS256 with the public key": f"{confused}.{mac}",
        "HS256 with a secret of the set": sign(claims(), SECRET, "HS256", kid="secret"),
        "a stranger's key": sign(claims(), STRANGER),
        "a key brought along": sign(claims(), STRANGER, jwk=public(STRANGER, "ed")),
        "a chain brought along": sign(claims(), STRANGER, x5c=["MIIB"]),
        "kid unknown": sign(claims(), kid="nobody"),
        "kid a path": sign(claims(), kid="../../dev/null"),
        "kid SQL": sign(claims(), kid="' OR 1=1 --"),
        "kid of another key": sign(claims(), kid="ec"),
        "kid a number": f"{b64({'alg': 'EdDSA', 'kid': 7})}.{body}.{signature}",
        "kid 1 KB": sign(claims(), kid="k" * 1_000),
        "crit": sign(claims(), crit=["x"], x=1),
        "crit empty": sign(claims(), crit=[]),
        "b64 false": sign(claims(), crit=["b64"], b64=False),
        "another type": sign(claims(), typ="dpop+jwt"),
        "nested": b64({"alg": "EdDSA"}) + "." + b64(b"[" * 5_000) + ".x",
        "encrypted": b64({"alg": "dir", "enc": "A256GCM"}) + "..x.y.z",
        "claims a list": sign([1, 2]),
        "claims no JSON": sign(b"\xff\xfe"),
    }


def wrong_claims() -> dict[str, dict[str, Any]]:
    """Claims that let nobody in, by what is wrong."""
    now = time.time()
    return {
        "no exp": {"exp": ...}, "exp over": {"exp": now - 1}, "exp 1": {"exp": 1},
        "exp text": {"exp": "9999999999"}, "exp null": {"exp": None}, "exp true": {"exp": True},
        "exp inf": {"exp": float("inf")}, "exp NaN": {"exp": float("nan")},
        "exp 10**400": {"exp": 10**400},
        "exp 1e300": {"exp": 1e300}, "exp negative": {"exp": -1}, "exp a list": {"exp": [now]},
        "nbf ahead": {"nbf": now + 60}, "nbf text": {"nbf": "soon"},
        "no iss": {"iss": ...}, "iss wrong": {"iss": "https://evil.example"},
        "iss a prefix": {"iss": ISSUER + "/"}, "iss a list": {"iss": [ISSUER]},
        "no aud": {"aud": ...}, "aud wrong": {"aud": "other"}, "aud empty": {"aud": ""},
        "aud number": {"aud": 7}, "aud in capitals": {"aud": AUDIENCE.upper()},
        "ID token": {"nonce": "x"}, "ID token of a code": {"at_hash": "x"},
    }  # fmt: skip


def wrong_roles() -> dict[str, dict[str, Any]]:
    """Claims of somebody who may see nothing, by what is wrong."""
    return {
        "no role": {"role": ...}, "Admin": {"role": "Admin"}, "admin ": {"role": "admin "},
        "a list": {"role": ["admin"]}, "null": {"role": None}, "unknown": {"role": "root"},
        "true": {"role": True}, "an object": {"role": {"admin": True}}, "NUL": {"role": "noc\0"},
        "Cyrillic": {"role": "\u0430dmin"}, "no company": {"role": "user"},
        "company empty": {"role": "user", "company_id": ""},
        "company a number": {"role": "user", "company_id": 101},
        "company a list": {"role": "user", "company_id": ["101"]},
        "company 65 long": {"role": "user", "company_id": "x" * 65},
    }  # fmt: skip
