"""Derives an identity from the provider's tokens.

:class:`~api.auth.sessions.Sessions` asks at a login and after each refresh. Claims come from the ID
token, then from an access token that is a JWT, and where those say nothing of rights, from the
provider's user info.
"""

from __future__ import annotations

from api.auth.claim_paths import ClaimRules
from api.auth.claims import Unauthenticated
from api.auth.oidc import Provider
from api.auth.oidc_messages import ProviderRefused, Tokens
from livestate.state.access import Forbidden, Identity


async def identity_of(
    provider: Provider, rules: ClaimRules, tokens: Tokens, subject: str | None = None
) -> Identity:
    """``subject``: that of the session being refreshed, because a response may lack an ID token.
    Raises
    Unauthenticated, Forbidden, Unavailable."""
    found = tokens.claims.get("sub", subject)
    if not isinstance(found, str) or not found.strip() or not found.isprintable():
        raise Unauthenticated("the provider's token has no 'sub' that can be used")
    if subject is not None and found != subject:
        raise Unauthenticated("the provider's new token is of another user")
    claims = {**tokens.claims, "sub": found, "exp": tokens.expires_at}
    try:
        return rules.identity(claims)
    except Forbidden:
        try:
            more = await provider.user_info(tokens.access_token, found)
        except ProviderRefused as error:
            raise Unauthenticated(f"the provider refuses its user info: {error}") from None
        return rules.identity({**more, **claims})
