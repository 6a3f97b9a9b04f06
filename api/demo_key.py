"""The key of the demo: signs logins for a machine of one's own. Not for production: who can read
its directory can be anybody."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DIRECTORY: Final = Path(".livestate")
ISSUER: Final = "livestate-demo"
AUDIENCE: Final = "livestate"
_KID: Final = "demo"


def jwks(directory: Path) -> Path:
    """The public key set; key and set are made on first use."""
    public = directory / "demo-jwks.json"
    if not public.exists():
        key = _key(directory)
        told = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
        told |= {"kid": _KID, "use": "sig", "alg": "EdDSA"}
        public.write_text(json.dumps({"keys": [told]}))
    return public


def mint(
    directory: Path,
    role: str,
    *,
    company_id: str | None = None,
    subject: str = "demo",
    seconds: float = 12 * 3600,
) -> str:
    """A login for ``role`` (and company), good for ``seconds``."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "role": role, "iat": now,
        "exp": now + int(seconds),
    }  # fmt: skip
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
        file.write(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ))  # fmt: skip
    return key
