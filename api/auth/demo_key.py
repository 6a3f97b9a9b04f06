"""The demo key: signs tokens on a developer's machine. Not for production: any user who can read
its directory can log in as anybody."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.auth.claims import LONGEST_SECONDS
from api.auth.jwk import VerificationKey

DIRECTORY: Final = Path(".livestate")
ISSUER: Final = "livestate-demo"
AUDIENCE: Final = "livestate"
_KID: Final = "demo"


def jwks(directory: Path) -> Path:
    """The public key set; key and set are made on first use."""
    public = directory / "demo-jwks.json"
    if not public.exists():
        key = _key(directory)
        jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
        jwk |= {"kid": _KID, "use": "sig", "alg": "EdDSA"}
        public.write_text(json.dumps({"keys": [jwk]}))
    return public


def is_demo(key: VerificationKey) -> bool:
    """Whether a key of a set is a demo key."""
    return key.kid == _KID and key.algorithms == {"EdDSA"}


def mint(
    directory: Path,
    role: str,
    *,
    company_id: str | None = None,
    subject: str = "demo",
    seconds: float = 12 * 3600,
) -> str:
    """A token for ``role`` (and company), valid for ``seconds``. Each has its own id, so a logout
    ends only this one. Raises ValueError if it would be refused."""
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"a login lasts at most {LONGEST_SECONDS // 86_400} days")
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "role": role,
        "iat": now,
        "exp": now + int(seconds),
        "jti": secrets.token_hex(8),
    }
    if company_id is not None:
        claims["company_id"] = company_id
    return jwt.encode(claims, _key(directory), algorithm="EdDSA", headers={"kid": _KID})


def _key(directory: Path) -> Ed25519PrivateKey:
    private = directory / "demo-key.pem"
    if private.exists():
        loaded = serialization.load_pem_private_key(private.read_bytes(), None)
        if not isinstance(loaded, Ed25519PrivateKey):
            raise ValueError(f"{private} is not an Ed25519 key; remove it for a new one")
        return loaded
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return key
