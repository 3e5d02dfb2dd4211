"""Who may use the Admin API: two keys, each with a role, and sessions of browsers.

A session is a signed token, so every node of a cluster knows it, and none keeps anything. Its signing key is
derived from the admin key with which the browser logged in: when that key changes, the session is over.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import IntEnum
from typing import Final, NamedTuple

from moorage import auth
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_SESSION_OVER, ADMIN_WRONG_KEY

AUDIENCE: Final = "moorage-admin"
_LABEL: Final = b"moorage dashboard session"


class Role(IntEnum):
    """What a caller may do. A higher role may do all that a lower one may."""

    READ = 1
    OPERATE = 2

    @property
    def shown(self) -> str:
        """Its name in the API."""
        return self.name.lower()


class Session(NamedTuple):
    """A browser's login. `expires` in epoch seconds."""

    role: Role
    expires: float


class AdminKeys:
    """The keys, "" for none. Never shown by `repr`."""

    __slots__ = ("_digests", "_sessions")

    def __init__(self, read: str, operate: str) -> None:
        self.replace(read, operate)

    def replace(self, read: str, operate: str) -> None:
        """Take other keys, at a reload. Sessions of former keys are over."""
        given = [(role, key) for role, key in ((Role.OPERATE, operate), (Role.READ, read)) if key]
        self._digests = [(role, _digest(key)) for role, key in given]
        self._sessions = {
            role: auth.AccessKeys(hmac.new(key.encode(), _LABEL, hashlib.sha256).hexdigest())
            for role, key in given
        }

    @property
    def enabled(self) -> bool:
        """True if there is a key."""
        return bool(self._digests)

    def role_of(self, key: str) -> Role:
        """The role of a key. Takes the same time for all wrong keys. Raises `PeerError` (admin-wrong-key)."""
        given, found = _digest(key), 0
        for role, digest in self._digests:
            found |= role if hmac.compare_digest(given, digest) else 0
        if not found:
            raise PeerError(ADMIN_WRONG_KEY)
        return Role(found)

    def begin_session(self, role: Role, now: float, seconds: float) -> str:
        """The token of a new session; `now` in epoch seconds."""
        return auth.sign(self._sessions[role], AUDIENCE, now, seconds)

    def session(self, token: str, now: float) -> Session:
        """The session of a token. Raises `PeerError` (admin-session-over)."""
        for role, keys in self._sessions.items():
            try:
                claims = auth.verify(token, keys, (AUDIENCE,), now, 0.0)
            except PeerError:
                continue
            return Session(role, claims.expires)
        raise PeerError(ADMIN_SESSION_OVER)

    def __repr__(self) -> str:
        return f"<AdminKeys: {len(self._digests)}>"


def _digest(key: str) -> bytes:
    # Digests have one length, so the comparison does not tell how long a key is.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
