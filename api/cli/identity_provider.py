"""What ``livestate doctor`` finds at the identity provider."""

from __future__ import annotations

from api.auth.claims import Unavailable
from api.auth.device_login import ENDPOINT
from api.auth.oidc import Provider
from api.auth.oidc_messages import Client, ProviderRefused
from api.cli.finding import Finding
from api.settings import Settings


async def provider(issuer: str, settings: Settings) -> Finding:
    """Whether browsers can log in there."""
    client = Client(issuer, settings.oidc_client_id or "", None, "")
    found = Provider(client, ca_file=settings.jwt_ca_file)
    try:
        await found.discover()
        await found.keys.refresh()
    except (Unavailable, ProviderRefused, OSError, ValueError) as error:
        return Finding(
            "bad",
            f"identity provider {issuer}: {error}",
            "browsers cannot log in: see docs/login.md",
        )
    walls = "" if found.endpoint(ENDPOINT) else "; it has no device grant for walls"
    return Finding("good", f"identity provider {issuer}: {len(found.keys.keys)} keys{walls}")
