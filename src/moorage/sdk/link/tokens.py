"""Access tokens for clients, signed with the access key of the connection string."""

from __future__ import annotations

import hmac
import json
import math
import time
from binascii import b2a_base64
from collections.abc import Collection, Mapping
from typing import Any, Final, TypedDict
from urllib.parse import quote, urlsplit

from moorage.wire.connection_string import check_hub, parse
from moorage.wire.errors import UsageError

TTL: Final = 3600.0
"""Default lifetime of a token, in seconds."""

_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")


class ClientAccess(TypedDict):
    """The arguments of a client: `io(endpoint, { path, query: { access_token: token } })`."""

    endpoint: str
    path: str
    token: str


def client_token(
    connection_string: str,
    *,
    hub: str,
    user_id: str | None = None,
    ttl: float = TTL,
    groups: Collection[str] = (),
    claims: Mapping[str, Any] | None = None,
) -> str:
    """An access token that opens `hub` for a client.

    `user_id` is the client's user; handlers find it in `environ["moorage.user_id"]`. The token is valid
    for `ttl` seconds; a connected client stays when it expires. The client starts in `groups`. Handlers find
    `claims`, more claims of the token, in `environ["moorage.claims"]`.

    The endpoint of the connection string must be the URL by which clients reach the service. Raises
    `UsageError` for arguments that cannot work."""
    return client_access(connection_string, hub=hub, user_id=user_id, ttl=ttl, groups=groups, claims=claims)[
        "token"
    ]


def client_access(
    connection_string: str,
    *,
    hub: str,
    user_id: str | None = None,
    ttl: float = TTL,
    groups: Collection[str] = (),
    claims: Mapping[str, Any] | None = None,
) -> ClientAccess:
    """A token as `client_token` makes it, with the address for which it is valid."""
    where = parse(connection_string)
    if not (math.isfinite(ttl) and ttl > 0):
        raise UsageError(f"ttl must be above 0, in seconds, not {ttl!r}")
    if user_id is not None and not isinstance(user_id, str):
        raise UsageError(f"user_id must be text, not {user_id!r}: write user_id=str(...)")
    if isinstance(groups, str):
        # Text is a collection of its letters, each of which would be a group.
        raise UsageError(f"groups must be a list of names, not {groups!r}")
    url = urlsplit(where.endpoint)
    endpoint = f"{url.scheme}://{url.netloc}"
    path = f"{url.path}/clients/socketio/hubs/{quote(check_hub(hub), safe='')}"
    now = time.time()
    made: dict[str, Any] = {"aud": endpoint + path, "iat": int(now), "exp": math.ceil(now + ttl)}
    if user_id:
        # Twice, as Azure's SDK has it: its passport helper reads the second.
        made |= {"sub": user_id, "userId": user_id}
    if groups:
        made["webpubsub.group"] = list(groups)
    for name in claims or ():
        if name in made:
            raise UsageError(f"the claim {name!r} is set by another argument")
    return {"endpoint": endpoint, "path": path, "token": jwt(where.key, {**made, **(claims or {})})}


def jwt(key: str, claims: Mapping[str, Any]) -> str:
    """A signed JWT, HS256. By hand: with a fixed header there is nothing to get wrong, and a JWT library
    would be a third of what importing this SDK costs."""
    head = _segment(b'{"alg":"HS256","typ":"JWT"}')
    text = f"{head}.{_segment(json.dumps(claims, separators=(',', ':')).encode())}"
    return f"{text}.{_segment(hmac.digest(key.encode(), text.encode(), 'sha256'))}"


def _segment(data: bytes) -> str:
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URLSAFE).decode()
