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
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

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
                 ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
                 ed448.Ed448PrivateKey: jwt.algorithms.OKPAlgorithm}  # fmt: skip
    (made,) = (a for kind, a in algorithm.items() if isinstance(key, kind))
    return json.loads(made.to_jwk(key.public_key())) | {"kid": kid, **more}


def publish(path: Path, **keys: Any) -> None:
    """A JWKS file of these keys by kid, and of a secret that must not be in one."""
    secret = {"kty": "oct", "kid": "secret", "k": b64(SECRET)}
    published = [public(key, kid) for kid, key in keys.items()]
    path.write_text(json.dumps({"keys": [*published, secret]}))


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones; ``...`` takes one away."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "role": "noc", "exp": now + 600} | changes
    return {name: value for name, value in good.items() if value is not ...}


def sign(claimed: Any, key: Any = ED, alg: str = "EdDSA", **headers: Any) -> str:
    """A signature on whatever is to be signed, also on what is no claims at all."""
    raw = claimed if isinstance(claimed, bytes) else json.dumps(claimed).encode()
    named = {"kid": "ed"} | headers
    told_headers = {name: value for name, value in named.items() if value is not None}
    return jwt.api_jws.encode(raw, key, algorithm=alg, headers=told_headers)


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(listener: str) -> dict[str, str]:
    """Forged tokens, by what is wrong; some say that their key is at
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
    unsigned = {
        f"alg {name!r}{signed and ', with a signature'}":
            f"{b64({'alg': name, 'kid': 'ed'})}.{body}.{signature if signed else ''}"
        for name in ("none", "None", "NONE", "nOnE", "none ", "", None, 0, True, {}, ["EdDSA"],
                     "EDDSA", "eddsa", "Ed25519 ", "HS256", "hs256")
        for signed in ("", "signed")
    }  # fmt: skip
    return (
        by_stranger
        | unsigned
        | {
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
            "b64 false, not critical": sign(claims(), b64=False),
            "b64 true": by_parts(b'{"alg": "EdDSA", "kid": "ed", "b64": true}'),
            "zip": sign(claims(), zip="DEF"),
            "enc": sign(claims(), enc="A256GCM"),
            "a token within": sign(claims(), cty="JWT"),
            "a token within, as payload": sign(good.encode(), cty="JWT"),
            "typ a list": sign(claims(), typ=["JWT"]),
            "typ an object": by_parts(b'{"alg": "EdDSA", "kid": "ed", "typ": {}}'),
            "typ a number": sign(claims(), typ=7),
            "role twice": sign(twice("role", '"user"')),
            "role twice, escaped": sign(twice("ro\\u006ce", '"user"')),
            "a name twice below": sign(twice("more", '{"a": 1, "a": 2}')),
            "alg twice": by_parts(b'{"alg": "none", "kid": "ed", "alg": "EdDSA"}'),
            "kid twice": by_parts(b'{"alg": "EdDSA", "kid": "x", "kid": "ed"}'),
            "another type": sign(claims(), typ="dpop+jwt"),
            "nested": b64({"alg": "EdDSA"}) + "." + b64(b"[" * 5_000) + ".x",
            "encrypted": b64({"alg": "dir", "enc": "A256GCM"}) + "..x.y.z",
            "claims a list": sign([1, 2]),
            "claims no JSON": sign(b"\xff\xfe"),
        }
    )


def by_parts(header: bytes) -> str:
    """A good signature under a header as it is written."""
    signed = f"{b64(header)}.{b64(claims())}"
    return f"{signed}.{b64(ED.sign(signed.encode()))}"


def twice(name: str, value: str) -> bytes:
    """Good claims, before which one more of this name stands, as it is written."""
    return f'{{"{name}": {value}, {json.dumps(claims())[1:]}'.encode()


def wrong_claims() -> dict[str, dict[str, Any]]:
    """Claims that must be refused with 401, by what is wrong."""
    now = time.time()
    return {
        "no exp": {"exp": ...}, "exp over": {"exp": now - 1}, "exp 1": {"exp": 1},
        "exp text": {"exp": "9999999999"}, "exp null": {"exp": None}, "exp true": {"exp": True},
        "exp inf": {"exp": float("inf")}, "exp NaN": {"exp": float("nan")},
        "exp 10**400": {"exp": 10**400},
        "exp 1e300": {"exp": 1e300}, "exp negative": {"exp": -1}, "exp a list": {"exp": [now]},
        "nbf ahead": {"nbf": now + 60}, "nbf text": {"nbf": "soon"},
        "exp in milliseconds": {"exp": int(now * 1000) + 600_000},
        "exp in 401 days": {"exp": now + 401 * 86_400}, "exp 2**53-1": {"exp": 2**53 - 1},
        "exp year 9999": {"exp": 253_402_300_799}, "iat ahead": {"iat": now + 60},
        "iat in milliseconds": {"iat": int(now * 1000)}, "iat text": {"iat": "now"},
        "iat true": {"iat": True},
        "iat NaN": {"iat": float("nan")}, "iat 10**400": {"iat": 10**400},
        "no sub": {"sub": ...}, "sub null": {"sub": None}, "sub empty": {"sub": ""},
        "sub number": {"sub": 7}, "sub a list": {"sub": ["s"]}, "sub of two lines": {"sub": "a\nb"},
        "sub that no list can hold": {"sub": " s"}, "sub with a NUL": {"sub": "s\0"},
        "jti number": {"jti": 7}, "jti of two lines": {"jti": "a\nb"},
        "no iss": {"iss": ...}, "iss wrong": {"iss": "https://evil.example"},
        "iss a prefix": {"iss": ISSUER + "/"}, "iss a list": {"iss": [ISSUER]},
        "no aud": {"aud": ...}, "aud wrong": {"aud": "other"}, "aud empty": {"aud": ""},
        "aud number": {"aud": 7}, "aud in capitals": {"aud": AUDIENCE.upper()},
        "ID token of a code": {"at_hash": "x"},
        "ID token of Keycloak": {"typ": "ID", "nonce": "x"}, "refresh token": {"typ": "Refresh"},
        "ID token that says Bearer": {"typ": "Bearer", "at_hash": "x"},
        "ID token of Cognito": {"token_use": "id"}, "ID token with s_hash": {"s_hash": "x"},
        "typ a list": {"typ": ["JWT"]},
        "logout token": {"events": {}}, "bound to a key": {"cnf": {"jkt": "x"}},
    }  # fmt: skip


def wrong_roles() -> dict[str, dict[str, Any]]:
    """Valid claims without a right to see calls (403), by what is wrong."""
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
