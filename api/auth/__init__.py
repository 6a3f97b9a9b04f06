"""Authentication: tokens, keys, logins, logouts and revocations."""
