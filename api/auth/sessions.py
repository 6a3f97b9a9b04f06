"""The sessions of browsers that logged in at an identity provider.

The cookie is opaque and random; the session is in memory and, encrypted, in Redis. A session is
refreshed in place before its tokens expire, so open streams continue without a lost frame. When the
provider refuses a refresh or changes the rights, the session's streams end within seconds:
``version`` grows, and :meth:`api.stream.registry.StreamRegistry.recheck` compares it.

Sessions in memory need no Redis, so logins survive while Redis is away; unsaved sessions are saved
when it is back. While the *provider* is away, a session that it did not refuse stays valid for
``grace_seconds`` beyond its expiry.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from redis.exceptions import RedisError

from api.auth.claim_paths import ClaimRules
from api.auth.claims import LONGEST_SECONDS, Unauthenticated, Unavailable
from api.auth.known_sessions import KnownSessions
from api.auth.logout import Logouts
from api.auth.oidc import Provider
from api.auth.oidc_messages import ProviderRefused, Tokens
from api.auth.session_entry import PREFIX, Entry, digest_of
from api.auth.session_store import Record, SessionStore
from api.auth.token_rights import identity_of
from livestate.process.masking import masked
from livestate.state.access import Forbidden, Identity

log = logging.getLogger("livestate.sessions")

TURN_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5.0  # after a refresh that failed for a temporary reason
USED_SECONDS: Final = 600.0  # a session without a stream is refreshed while it is in use
AT_ONCE: Final = 8  # refreshes
CLEAN_SECONDS: Final = 3600.0
_AWAY: Final = (RedisError, OSError, asyncio.TimeoutError)


class NotLoaded(Unavailable):
    """The session is not in memory, or must be refreshed: call :meth:`Sessions.prepare` first."""


class Sessions:
    """Begins, identifies, refreshes and ends sessions. One per instance."""

    def __init__(
        self,
        provider: Provider,
        rules: ClaimRules,
        store: SessionStore,
        logouts: Logouts,
        *,
        clock: Callable[[], float],
        seconds: float,
        grace_seconds: float = 3600.0,
    ) -> None:
        self.provider = provider
        self.refreshes: Counter[str] = Counter()  # by result: done, refused, failed
        self.trouble: str | None = None  # of the last refresh or write
        self._rules = rules
        self._store = store
        self._logouts = logouts
        self._clock = clock
        self._seconds = min(seconds, LONGEST_SECONDS)
        self._grace = grace_seconds
        self._known = KnownSessions(clock)
        self._refreshing: dict[bytes, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._instance = secrets.token_hex(8)

    @property
    def version(self) -> int:
        """Grows with each session that ended or whose rights changed."""
        return self._known.version

    def __len__(self) -> int:
        return len(self._known)

    async def begin(self, tokens: Tokens) -> tuple[str, Identity]:
        """A new session, and its cookie. Raises Forbidden, Unauthenticated, Unavailable."""
        identity = await identity_of(self.provider, self._rules, tokens)
        cookie = PREFIX + secrets.token_urlsafe(32)
        digest = digest_of(cookie)
        now = self._clock()
        # Without a refresh token the session cannot be refreshed.
        ends_at = now + self._seconds if tokens.refresh_token else tokens.expires_at
        sid = tokens.claims.get("sid")
        record = Record(
            identity.subject,
            identity.role,
            identity.company_id,
            tokens.expires_at,
            ends_at,
            now,
            sid if isinstance(sid, str) else None,
            tokens.refresh_token,
            tokens.id_token,
        )
        entry = self._known.keep(digest, record)
        await self._save(digest, entry)
        return cookie, entry.identity

    def identity(self, cookie: str) -> Identity:
        """The login of a session. Raises :class:`NotLoaded`, or Unauthenticated if it has ended."""
        digest = digest_of(cookie)
        entry = self._known.get(digest)
        if digest in self._logouts:
            raise Unauthenticated("you were logged out: log in again")
        if entry is None:
            raise NotLoaded("this session is being looked up")
        now = self._clock()
        entry.used_at = now
        if now >= entry.record.ends_at:
            raise Unauthenticated("your session has expired: log in again")
        if now >= entry.record.expires_at + (self._grace if entry.away else 0):
            raise NotLoaded("this session is being refreshed")
        return entry.identity

    def check(self, identity: Identity) -> None:
        """Raises Unauthenticated if the rights of an identity's session have changed."""
        entry = self._known.get(identity.login)
        if entry is None or entry.identity != identity:
            raise Unauthenticated("the rights of this session have changed")

    async def prepare(self, cookie: str) -> None:
        """Load a session, and refresh it if it has expired; :meth:`identity` knows it then. Raises
        Unauthenticated if it has ended, Unavailable while Redis cannot be reached."""
        digest = digest_of(cookie)
        entry = self._known.get(digest)
        if entry is None:
            try:
                record = await self._store.load(digest)
            except _AWAY as error:
                raise Unavailable(
                    f"the session cannot be looked up: Redis is away ({type(error).__name__})"
                ) from error
            if record is None:
                raise Unauthenticated("your session has ended: log in again")
            entry = self._known.get(digest) or self._known.keep(digest, record)
        if self._clock() >= entry.record.expires_at and not entry.away:
            await asyncio.shield(self._start_refresh(digest))
            if digest not in self._known:
                raise Unauthenticated("your session has ended: log in again")

    def hold(self, identity: Identity) -> None:
        """A stream uses this session: it is refreshed until :meth:`release`."""
        if identity.session:
            self._known.hold(identity.login)

    def release(self, identity: Identity) -> None:
        if identity.session:
            self._known.release(identity.login)

    async def end(self, cookie: str) -> str | None:
        """Log out, here and on every instance; the ID token for the provider's own logout."""
        digest = digest_of(cookie)
        entry = self._known.get(digest)
        record = entry.record if entry else None
        if record is None:
            try:
                record = await self._store.load(digest)
            except _AWAY:
                record = None
        await self._end(digest, record)
        return record.id_token if record else None

    async def end_matching(self, *, sid: str | None, subject: str | None) -> int:
        """End the sessions that a logout at the provider names: of ``sid``, else all of a user.
        How many there were. Raises Unavailable while Redis is away."""
        found = {digest: entry.record for digest, entry in self._known.items()}
        try:
            async for digest, record in self._store.all():
                if record is not None:
                    found.setdefault(digest, record)
        except _AWAY as error:
            raise Unavailable("the sessions cannot be looked up: Redis is away") from error
        ended = 0
        for digest, record in found.items():
            if record.provider_session == sid if sid is not None else record.subject == subject:
                await self._end(digest, record)
                ended += 1
        return ended

    async def run(self) -> None:
        """Refresh sessions in use, save unsaved ones, delete ended ones; until cancelled."""
        cleaned_at = self._clock() - CLEAN_SECONDS * random.random()
        try:
            while True:
                await asyncio.sleep(TURN_SECONDS)
                now = self._clock()
                self._refresh_due(now)
                await self._write_unsaved()
                if now - cleaned_at >= CLEAN_SECONDS:
                    cleaned_at = now
                    await self._clean(now)
        finally:
            for task in tuple(self._refreshing.values()):
                task.cancel()

    def _refresh_due(self, now: float) -> None:
        for digest, entry in tuple(self._known.items()):
            used = self._known.held(digest) or now - entry.used_at < USED_SECONDS
            if not used:
                if now - entry.used_at > 2 * USED_SECONDS and not entry.unsaved:
                    del self._known[digest]  # Redis has it
            elif now >= min(entry.record.ends_at, entry.record.expires_at + self._grace):
                self._known.end(digest)
            elif now >= entry.refresh_at and digest not in self._refreshing:
                self._start_refresh(digest)

    def _start_refresh(self, digest: bytes) -> asyncio.Task[None]:
        """One refresh at a time for each session; other callers get the same task."""
        task = self._refreshing.get(digest)
        if task is None:
            task = self._refreshing[digest] = asyncio.create_task(self._refresh(digest))
            task.add_done_callback(lambda _: self._refreshing.pop(digest, None))
        return task

    async def _refresh(self, digest: bytes) -> None:
        """Ask the provider for a session's next tokens. Raises only when cancelled."""
        entry = self._known.get(digest)
        if entry is None:
            return
        async with self._places:
            mine = True
            try:
                mine = await self._store.take_refresh(digest, self._instance)
                newer = await self._store.load(digest)
                if newer is not None and newer.refreshed_at > entry.record.refreshed_at:
                    self._known.adopt(digest, entry, newer)  # another instance was first
                    if mine:
                        await self._store.leave_refresh(digest)
                    return
            except _AWAY:
                pass  # without Redis, no other instance can be asked
            if not mine:
                entry.refresh_at = self._clock() + TURN_SECONDS  # another instance is asking
                return
            try:
                await self._ask(digest, entry)
            finally:
                try:
                    await self._store.leave_refresh(digest)
                except _AWAY:
                    pass

    async def _ask(self, digest: bytes, entry: Entry) -> None:
        record = entry.record
        if record.refresh_token is None:
            self._known.end(digest)
            return
        try:
            tokens = await self.provider.refresh(record.refresh_token)
            identity = await identity_of(self.provider, self._rules, tokens, record.subject)
        except (Unauthenticated, Forbidden) as error:
            await self._refused(digest, record, error.reason)
            return
        except (ProviderRefused, Unavailable) as error:
            if isinstance(error, ProviderRefused) and error.final:
                await self._refused(digest, record, str(error))
                return
            self.refreshes["failed"] += 1
            self._troubled(masked(str(error)))
            entry.away = True
            entry.refresh_at = self._clock() + RETRY_SECONDS * random.uniform(0.8, 1.2)
            return
        self.trouble = None
        self.refreshes["done"] += 1
        newer = replace(
            record,
            role=identity.role,
            company=identity.company_id,
            expires_at=tokens.expires_at,
            refreshed_at=self._clock(),
            refresh_token=tokens.refresh_token or record.refresh_token,
            id_token=tokens.id_token or record.id_token,
        )
        self._known.adopt(digest, entry, newer)
        await self._save(digest, entry)

    async def _refused(self, digest: bytes, record: Record, reason: str) -> None:
        self.refreshes["refused"] += 1
        log.info(
            "a session ends, because the provider refuses to refresh it: subject=%r reason=%s",
            record.subject,
            reason,
        )
        await self._end(digest, record)

    async def _end(self, digest: bytes, record: Record | None) -> None:
        ends_at = record.ends_at if record else self._clock() + self._seconds
        self._logouts.end(digest, ends_at)  # reaches the other instances too
        self._known.end(digest)
        try:
            await self._store.delete(digest)
        except _AWAY as error:
            self._troubled(f"Redis is away: {type(error).__name__}")

    async def _save(self, digest: bytes, entry: Entry) -> bool:
        try:
            await self._store.save(digest, entry.record)
        except _AWAY as error:
            entry.unsaved = True
            self._troubled(f"sessions are not written while Redis is away: {type(error).__name__}")
            return False
        entry.unsaved = False
        return True

    async def _write_unsaved(self) -> None:
        """Save unsaved sessions; all of them if Redis was emptied, restarted or failed over."""
        try:
            lost = await self._store.server_changed()
            if self._known and (lost or not await self._store.exists()):
                for entry in self._known.values():
                    entry.unsaved = True
        except _AWAY:
            return
        for digest, entry in tuple(self._known.items()):
            if entry.unsaved:
                if not await self._save(digest, entry):
                    return
                self.trouble = None

    async def _clean(self, now: float) -> None:
        """Delete from Redis sessions that have ended or that no key can decrypt."""
        try:
            over = [
                digest
                async for digest, record in self._store.all()
                if record is None or record.ends_at <= now
            ]
            await self._store.delete(*over)
        except _AWAY as error:
            self._troubled(f"Redis is away: {type(error).__name__}")

    def _troubled(self, reason: str) -> None:
        if reason != self.trouble:
            log.warning("sessions: %s", reason)
        self.trouble = reason
