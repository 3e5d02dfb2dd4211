"""Access keys, the tokens signed with them, and the audiences that tokens must name.

Clients, app servers' links and the data-plane API use one kind of token: a JWT signed with an access key
(HS256; the secret is the key's UTF-8 text). They differ in the audience, which is the URL that the token was
made for; see `client_audience`, `rest_audiences` and `tunnel_audience`.

URLs are compared by these rules:
- The scheme must be http, https, ws or wss, and is otherwise ignored: TLS may end at a proxy, and the SDKs
  write `http` and `ws` for the same service. For the same reason ports 80 and 443 count as no port.
- The host ignores case and is not resolved: `localhost` is not `127.0.0.1`.
- Slashes at the end of the path are ignored. Path segments and query values are compared decoded, because
  proxies and HTTP libraries re-encode them. The order of the query does not matter.

PyJWT signs and compares (`HMACAlgorithm`); this module decodes. PyJWT's decoder takes 110 us for one key,
this one about 20 us for two. It also warns of short keys on every call and reads the wall clock, where
`verify` takes `now` as an argument.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from math import ceil
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, quote, unquote

import msgspec
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError
from msgspec import Meta

from moorage.wire import reasons
from moorage.wire.errors import PeerError, UsageError
from moorage.wire.groups import MAX_GROUP

MAX_TOKEN: Final = 8 * 1024
"""Maximum characters of a token. A REST token contains its URL, so this also bounds filters in URLs."""

_HS256: Final = HMACAlgorithm(HMACAlgorithm.SHA256)
_LATEST: Final = 2.0**53
"""Upper bound of `Claims.expires`. Larger values of `exp` are cut to it, so that it stays an exact number."""


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens. Times in seconds."""

    clock_skew: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    """Maximum difference between the clock of the service and that of a token's maker."""
    token_ttl: Annotated[float, Meta(ge=1, le=365 * 86_400)] = 3600.0
    """Default lifetime of a token that the service makes."""


class AccessKeys:
    """One or two keys, either of which signs valid tokens. Never shown by `repr`."""

    __slots__ = ("_secrets",)

    def __init__(self, primary: str, secondary: str | None = None) -> None:
        self._secrets: tuple[bytes, ...] = ()
        self.replace(primary, secondary)

    def replace(self, primary: str, secondary: str | None = None) -> None:
        """Replace all keys. Raises `UsageError` for an unusable key, and keeps the old keys in that case."""
        given = (primary,) if not secondary else (primary, secondary)
        try:
            # Refuses an empty key. Also refuses PEM and SSH keys: a public key used as an HMAC secret is the
            # classic algorithm confusion.
            self._secrets = tuple(_HS256.prepare_key(key.encode()) for key in given)
        except (InvalidKeyError, UnicodeEncodeError) as error:
            raise UsageError(f"unusable access key: {error}") from None

    @property
    def primary(self) -> str:
        """The signing key, as in the connection string."""
        return self._secrets[0].decode()

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """All keys as HMAC secrets, the signing one first."""
        return self._secrets

    def __repr__(self) -> str:
        return f"<AccessKeys: {len(self._secrets)}>"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a verified token. `expires` is in epoch seconds."""

    user_id: str | None
    groups: tuple[str, ...]
    expires: float
    all: dict[str, list[str]]
    """Every claim as a list of strings, the form of the connect event: a list claim has one string per
    element, and a value that is not a string is given as JSON text."""


# --- audiences ---------------------------------------------------------------------------------

_NO_HOST: Final = re.compile(r"[/?#@%\s]")
_NO_BASE: Final = re.compile(r"[?#@%\s]")
_Url = tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]


class Audience:
    """A predicate over a token's `aud`. `expected` is for the error message."""

    __slots__ = ("_accepted", "_fold", "expected")

    def __init__(self, expected: Iterable[str], *, fold: bool = False) -> None:
        """`expected`: URLs without scheme. `fold`: the path ignores case."""
        self.expected: Final = tuple(expected)
        self._fold: Final = fold
        self._accepted: Final = frozenset(_canonical(url, fold) for url in self.expected)

    def __call__(self, aud: str) -> bool:
        rest = _without_scheme(aud)
        return rest is not None and _canonical(rest, self._fold) in self._accepted


_CLIENT_PATH: Final = "/clients/socketio/hubs/"
_CLIENT_PATHS: Final = (_CLIENT_PATH, "/client/hubs/", "/clients/mqtt/hubs/")
"""Paths that mark a client's token. The last two are those that the data-plane SDKs write for other
protocols: a client whose token was made without the option `clientProtocol` must get an error, not become
anonymous."""


def client_audience(base: str | Collection[str], hub: str) -> Audience:
    """For a client: `http(s)://HOST[:PORT]/clients/socketio/hubs/HUB`, hub in any case.

    `base`, here and below, is the address that callers use: the setting `public_endpoint` (a URL, perhaps
    with a path if a proxy serves Moorage below one), or else the request's `Host` header without a scheme. If
    there are several, each is accepted."""
    path = f"{_CLIENT_PATH}{quote(hub, safe='')}"
    return Audience([at + path for at in _bases(base)], fold=True)


def rest_audiences(base: str | Collection[str], path: str, query: str) -> Audience:
    """For a data-plane request: its URL, with the whole query (current SDKs) or without it (older SDKs).
    `path` and `query` are as on the request line, the query without `?`."""
    plain = [f"{at}{path}" for at in _bases(base)]
    return Audience([*(f"{url}?{query}" for url in plain), *plain] if query else plain)


def tunnel_audience(base: str | Collection[str], query: str) -> Audience:
    """For an app server's link: `ws(s)://HOST[:PORT]/server/tunnel?hub=HUB[&target=…]`, which is
    the tunnel's URL without `access_token`. `query` is as on the request line."""
    kept = "&".join(part for part in query.split("&") if not part.startswith("access_token="))
    return Audience([f"{at}/server/tunnel?{kept}" for at in _bases(base)])


def _bases(base: str | Collection[str]) -> list[str]:
    bases = []
    for at in (base,) if isinstance(base, str) else base:
        url = _without_scheme(at)
        # The sender controls the Host header. A path in it would let the sender choose the path of the
        # audience.
        if not (_NO_HOST.search(at) if url is None else _NO_BASE.search(url)):
            bases.append((at if url is None else url).rstrip("/"))
    return bases


def _without_scheme(url: str) -> str | None:
    scheme, found, rest = url.partition("://")
    return rest if found and scheme.lower() in ("http", "https", "ws", "wss") else None


def _canonical(url: str, fold: bool) -> _Url:
    """A form that is the same for URLs (without scheme) that count as equal. Never raises."""
    before, _, query = url.partition("?")
    authority, _, path = before.partition("/")
    host = authority.lower().removesuffix(":80").removesuffix(":443")
    segments = tuple((path.lower() if fold else path).rstrip("/").split("/"))
    if "%" in path:
        # Split before decoding: an encoded slash is part of a name.
        segments = tuple(unquote(part).lower() if fold else unquote(part) for part in segments)
    pairs = tuple(sorted(parse_qsl(query, keep_blank_values=True))) if query else ()
    return host, segments, pairs


# --- tokens ------------------------------------------------------------------------------------


def bearer(authorization: str) -> str:
    """The token of an `Authorization` header's value. Raises `PeerError` (token-missing)."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise PeerError(reasons.TOKEN_MISSING)
    return token.strip()


def verify(
    token: str, keys: AccessKeys, audience: Callable[[str], bool] | Collection[str], now: float, leeway: float
) -> Claims:
    """The claims of `token`, if one of the keys signed it, it is valid now and its audience is accepted.
    `now` is in epoch seconds, `leeway` in seconds. `audience` is a predicate or the accepted values. Raises
    only `PeerError`, with one of the `token-…` reasons."""
    claims = _signed_claims(token, keys)
    expires = _check_times(claims, now, leeway)
    _check_audience(claims, audience)
    return Claims(
        user_id=_user(claims),
        groups=_groups(claims),
        expires=float(min(expires, _LATEST)),
        all={name: _texts(value) for name, value in claims.items()},
    )


class _Unverified(msgspec.Struct, gc=False):
    """The claims that are read without a valid signature: what the token is for, and the user it names."""

    aud: str | list[str] = ""
    sub: Any = None
    userId: Any = None


def is_addressed(token: str, keys: AccessKeys) -> bool:
    """True if `token` was made for this service, valid or not: one of our keys signed it, or its `aud` names
    a path for clients (`_CLIENT_PATHS`). Any other token is passed on to the app."""
    try:
        _signed_claims(token, keys)
    except PeerError:
        pass
    else:
        return True
    found = _unverified(token)
    if found is None:
        return False
    audiences = [found.aud] if isinstance(found.aud, str) else found.aud
    return any(path in aud.lower() for aud in audiences for path in _CLIENT_PATHS)


def claimed_user(token: str) -> str | None:
    """The user that a token names, valid or not. Anybody can write such a token, so this is only for people
    who look for the cause of a refusal."""
    found = _unverified(token) if len(token) <= MAX_TOKEN else None
    if found is None:
        return None
    return next((name for name in (found.sub, found.userId) if isinstance(name, str) and name), None)


def _unverified(token: str) -> _Unverified | None:
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        return None
    try:
        return msgspec.json.decode(_decode(parts[1].encode()), type=_Unverified)
    except (ValueError, RecursionError):
        return None


def sign(
    keys: AccessKeys,
    audience: str,
    now: float,
    ttl: float,
    *,
    user: str | None = None,
    groups: Collection[str] = (),
    roles: Collection[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Make a client token like those of Azure's SDKs, signed with the primary key.

    `now` is in epoch seconds, `ttl` in seconds. A user is written as `sub` and as `userId`, as the Socket.IO
    SDK does; its passport helper reads only `userId`. `extra` adds claims. Raises `UsageError` if `extra`
    names a claim that is already set."""
    claims: dict[str, Any] = {"aud": audience, "iat": int(now), "exp": ceil(now + ttl)}
    if user:
        claims["sub"] = claims["userId"] = user
    if roles:
        claims["role"] = list(roles)
    if groups:
        claims["webpubsub.group"] = list(groups)
    if extra:
        if taken := sorted(claims.keys() & extra.keys()):
            raise UsageError(f"claims already set: {', '.join(taken)}")
        claims.update(extra)
    signed = _HEADER_HS256 + b"." + _encode(msgspec.json.encode(claims))
    return (signed + b"." + _encode(_HS256.sign(signed, keys.secrets[0]))).decode()


class _Header(msgspec.Struct, gc=False):
    """The members of the JOSE header that matter. No critical extension is supported, so any `crit` is
    refused."""

    alg: str = ""
    crit: msgspec.Raw | None = None


def _encode(data: bytes) -> bytes:
    text = binascii.b2a_base64(data, newline=False).rstrip(b"=")
    return text.translate(bytes.maketrans(b"+/", b"-_"))


_HEADER_HS256: Final = _encode(b'{"alg":"HS256","typ":"JWT"}')
# base64url to base64. Characters that only base64 has, and padding (RFC 7515, 2), become an invalid
# character.
_URLSAFE: Final = bytes.maketrans(b"-_+/=", b"+/!!!")


def _decode(segment: bytes) -> bytes:
    return binascii.a2b_base64(segment.translate(_URLSAFE) + b"=" * (-len(segment) % 4), strict_mode=True)


def _signed_claims(token: str, keys: AccessKeys) -> dict[str, Any]:
    """The payload, after one of the keys has verified the signature. Before that only the header is read."""
    if not token:
        raise PeerError(reasons.TOKEN_MISSING)
    if len(token) > MAX_TOKEN or not token.isascii() or token.count(".") != 2:
        raise PeerError(reasons.TOKEN_MALFORMED, f"three base64url parts, at most {MAX_TOKEN} characters")
    signed, _, last = token.encode().rpartition(b".")
    first, _, middle = signed.partition(b".")
    try:
        header = msgspec.json.decode(_decode(first), type=_Header)
        signature = _decode(last)
    except (ValueError, RecursionError):
        raise PeerError(reasons.TOKEN_MALFORMED, "header or signature") from None
    if header.alg != "HS256":
        raise PeerError(reasons.TOKEN_ALGORITHM, "HS256 only")
    if header.crit is not None:
        raise PeerError(reasons.TOKEN_MALFORMED, "unknown critical header")
    if not any(_HS256.verify(signed, secret, signature) for secret in keys.secrets):
        raise PeerError(reasons.TOKEN_SIGNATURE)
    try:
        return msgspec.json.decode(_decode(middle), type=dict[str, Any])
    except (ValueError, RecursionError):
        raise PeerError(reasons.TOKEN_MALFORMED, "payload is not a JSON object") from None


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> float:
    """Check all times and return `exp`. Times are only compared, never added to: an integer of any size
    compares exactly with a float."""
    expires = _moment(claims, "exp")
    if expires is None:
        raise PeerError(reasons.TOKEN_CLAIMS, "exp is missing")
    if expires <= now - leeway:
        raise PeerError(reasons.TOKEN_EXPIRED)
    for name in ("nbf", "iat"):
        moment = _moment(claims, name)
        if moment is not None and moment > now + leeway:
            raise PeerError(reasons.TOKEN_NOT_YET, f"{name} is in the future")
    return expires


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PeerError(reasons.TOKEN_CLAIMS, f"{name} must be a number")
    return value


def _check_audience(claims: Mapping[str, Any], audience: Callable[[str], bool] | Collection[str]) -> None:
    given = claims.get("aud")
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or not found or not all(isinstance(aud, str) for aud in found):
        raise PeerError(reasons.TOKEN_CLAIMS, "aud must be a string or a list of strings")
    matches = audience if callable(audience) else audience.__contains__
    if not any(matches(aud) for aud in found):
        # The most common mistake in a new installation, so the error names both audiences.
        expected = audience.expected if isinstance(audience, Audience) else ()
        wanted = f", expected {expected[0][:256]} with any scheme" if expected else ""
        raise PeerError(reasons.TOKEN_AUDIENCE, f"it names {found[0][:256]}{wanted}")


def _user(claims: Mapping[str, Any]) -> str | None:
    for name in ("sub", "userId"):
        value = claims.get(name)
        if value is not None and not isinstance(value, str):
            raise PeerError(reasons.TOKEN_CLAIMS, f"{name} must be a string")
        if value:
            return value
    return None


def _groups(claims: Mapping[str, Any]) -> tuple[str, ...]:
    given = claims.get("webpubsub.group")
    if given is None:
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name.strip() and len(name) <= MAX_GROUP for name in names
    ):
        raise PeerError(reasons.TOKEN_CLAIMS, f"webpubsub.group: names of 1 to {MAX_GROUP} characters")
    return tuple(dict.fromkeys(names))


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in values]
