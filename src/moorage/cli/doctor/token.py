"""Why the service would refuse a token: each property of it is checked for itself. Pure."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from moorage.auth import (
    MAX_TOKEN,
    AccessKeys,
    Audience,
    client_audience,
    rest_audiences,
    tunnel_audience,
    verify,
)
from moorage.cli.doctor.findings import Finding
from moorage.cli.tables import duration
from moorage.config.model import Config
from moorage.wire import reasons
from moorage.wire.errors import PeerError

_CLIENT: Final = "/clients/socketio/hubs/"
_TUNNEL: Final = "/server/tunnel"
_FAR: Final = 366 * 86_400


class Parts:
    """The parts of a token, read without a key. `why` is not empty if it cannot be read."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.header: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.why = self._read()

    def _read(self) -> str:
        parts = self.token.split(".")
        if not self.token.isascii() or len(self.token) > MAX_TOKEN:
            return f"a token is ASCII and has at most {MAX_TOKEN} characters"
        if len(parts) != 3:
            return "a token has three parts with dots between them, this one has " + str(len(parts))
        for name, part in (("header", parts[0]), ("payload", parts[1])):
            try:
                raw = part.replace("-", "+").replace("_", "/")
                found = json.loads(binascii.a2b_base64(raw + "=" * (-len(raw) % 4)))
            except (ValueError, RecursionError):
                return f"its {name} is not JSON in base64url"
            if not isinstance(found, dict):
                return f"its {name} is not a JSON object"
            setattr(self, "header" if name == "header" else "claims", found)
        return ""

    @property
    def audiences(self) -> list[str]:
        """The audiences that are texts."""
        given = self.claims.get("aud")
        return [aud for aud in (given if isinstance(given, list) else [given]) if isinstance(aud, str)]


def findings(
    token: str, config: Config, *, now: float, hub: str | None = None, base: str = ""
) -> Iterator[Finding]:
    """The checks. `base` is the address by which callers reach the service; without it, the token's own is
    taken. Without keys in `config` the signature is not checked."""
    parts = Parts(token)
    if parts.why:
        yield Finding("form", "fail", parts.why, "copy the whole token, without the word Bearer and quotes")
        return
    yield Finding("form", "ok", f"{len(token)} characters, header {json.dumps(parts.header)}")
    yield _algorithm(parts)
    yield _signature(parts, config)
    yield from _times(parts.claims, config.auth.clock_skew, now)
    kind, name, audience = _purpose(parts, base)
    yield _audience(parts, audience)
    if kind == "client" or hub is not None:
        yield _hub(name, hub, config)
    yield _claims(parts)
    whose = f"clients of hub {name}" if kind == "client" else f"a {kind} request"
    yield _verdict(parts, config, audience, now, whose)


def _algorithm(parts: Parts) -> Finding:
    given = parts.header.get("alg")
    if given != "HS256":
        return Finding("algorithm", "fail", f"{given}", "sign it with HS256 and an access key")
    if "crit" in parts.header:
        return Finding(
            "algorithm", "fail", "its header has crit, which the service does not support", "leave it out"
        )
    return Finding("algorithm", "ok", "HS256")


def _signature(parts: Parts, config: Config) -> Finding:
    given = {"keys.primary": config.keys.primary, "keys.secondary": config.keys.secondary}
    known = {name: key for name, key in given.items() if key}
    if not known:
        return Finding("signature", "skip", "not checked: there is no access key", "give -c or --access-key")
    for name, key in known.items():
        refused = _refusal(parts.token, AccessKeys(key), lambda aud: True, now=0.0, leeway=float("inf"))
        if refused is None or refused.reason is not reasons.TOKEN_SIGNATURE:
            return Finding("signature", "ok", f"made with {name}")
    return Finding(
        "signature",
        "fail",
        f"made with another key than {' and '.join(known)}",
        "compare the AccessKey that made it with the configuration, character for character",
    )


def _refusal(
    token: str, keys: AccessKeys, audience: Callable[[str], bool], *, now: float, leeway: float
) -> PeerError | None:
    try:
        verify(token, keys, audience, now, leeway)
    except PeerError as error:
        return error
    return None


def _times(claims: Mapping[str, Any], skew: float, now: float) -> Iterator[Finding]:
    expires = claims.get("exp")
    allowed = f"auth.clock_skew allows {duration(skew)}"
    if isinstance(expires, bool) or not isinstance(expires, (int, float)):
        yield Finding("exp", "fail", "there is no time of expiry", "add exp, in seconds since 1970")
    elif expires <= now - skew:
        fix = "make a new one, or give tokens a longer life (--ttl, auth.token_ttl)"
        yield Finding("exp", "fail", f"expired {_ago(now - expires)} ago; {allowed}", fix)
    elif expires > now + _FAR:
        fix = (
            "use seconds since 1970, not milliseconds; and short lives, because a token cannot be taken back"
        )
        yield Finding("exp", "warn", f"expires in {_ago(expires - now)}", fix)
    else:
        yield Finding("exp", "ok", f"expires in {_ago(expires - now)}")
    for name in ("iat", "nbf"):
        moment = claims.get(name)
        if moment is None:
            continue
        if isinstance(moment, bool) or not isinstance(moment, (int, float)):
            yield Finding(name, "fail", "not a number", "write seconds since 1970")
        elif moment > now + skew:
            fix = "set the clocks of both machines (NTP), or use seconds instead of milliseconds"
            yield Finding(name, "fail", f"{_ago(moment - now)} in the future; {allowed}", fix)
        else:
            yield Finding(name, "ok", f"{_ago(now - moment)} ago" if moment <= now else "now")


def _ago(seconds: float) -> str:
    return duration(min(abs(seconds), 1e12))


def _purpose(parts: Parts, base: str) -> tuple[str, str, Audience | None]:
    """What the first audience is for, its hub, and the audience that the service would expect."""
    for aud in parts.audiences:
        if "://" not in aud:
            continue
        address, _, rest = aud.partition("://")[2].partition("/")
        path, _, query = f"/{rest}".partition("?")
        at = base or address
        if path.lower().startswith(_CLIENT):
            name = unquote(path[len(_CLIENT) :].strip("/"))
            return "client", name, client_audience(at, name)
        if path.startswith(_TUNNEL):
            return "link", "", tunnel_audience(at, query)
        return "REST", "", rest_audiences(at, path, query)
    return "", "", None


def _audience(parts: Parts, audience: Audience | None) -> Finding:
    if audience is None:
        fix = "add aud, such as https://HOST/clients/socketio/hubs/HUB"
        return Finding("audience", "fail", "it names no URL", fix)
    shown = ", ".join(parts.audiences)
    if not any(audience(aud) for aud in parts.audiences):
        fix = (
            f"the service expects {audience.expected[0]} with any scheme: make the token for the address "
            "that clients use, and set server.public_endpoint to it (localhost is not 127.0.0.1)"
        )
        return Finding("audience", "fail", shown, fix)
    return Finding("audience", "ok", shown)


def _hub(name: str, wanted: str | None, config: Config) -> Finding:
    if wanted is not None and name.lower() != wanted.lower():
        return Finding(
            "hub", "fail", f"it is for hub {name or 'none'}, not {wanted}", f"make one for {wanted}"
        )
    listed = {hub.lower() for hub in config.hubs}
    if name.lower() not in listed and not config.allow_unlisted_hubs:
        return Finding("hub", "fail", f"{name} is not in hubs", "add it there, or allow_unlisted_hubs: true")
    return Finding("hub", "ok", name)


def _claims(parts: Parts) -> Finding:
    claims = parts.claims
    shown = {name: claims[name] for name in ("sub", "userId", "role", "webpubsub.group") if name in claims}
    return Finding(
        "claims", "ok", json.dumps(shown, ensure_ascii=False) if shown else "no user, roles or groups"
    )


def _verdict(parts: Parts, config: Config, audience: Audience | None, now: float, whose: str) -> Finding:
    """Verify the token with the service's own code. `whose`: for whom it is made."""
    keys = config.keys
    if not keys.primary:
        return Finding("service", "skip", "not asked: there is no access key")
    accepted = audience if audience is not None else (lambda aud: False)
    known = AccessKeys(keys.primary, keys.secondary)
    refused = _refusal(parts.token, known, accepted, now=now, leeway=config.auth.clock_skew)
    if refused is None:
        return Finding("service", "ok", f"would accept it for {whose}")
    return Finding(
        "service",
        "fail",
        f"would refuse it: {refused.message} ({refused.reason.number} {refused.reason.name})",
    )
