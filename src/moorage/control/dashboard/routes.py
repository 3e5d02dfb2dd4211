"""Serves the dashboard's files. They are read once, from the package; a request is looked up in a table of
their names, so no path of a request ever reaches the file system.

The files have one common version in their address: a hash of all contents. So browsers keep them for ever,
and the page, which browsers check each time, names the current version."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

PATH: Final = "/dashboard"
PAGE: Final = "index.html"
TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",
}
"""Content types by the end of a file's name. The last one is that of the licence."""

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        # No script of the page can make HTML out of a string, so no text of a client can become markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer."""
CHECK_EACH_TIME: Final = "no-cache"
KEEP: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class File:
    """One file, also compressed. `tag` is its entity tag."""

    content_type: str
    body: bytes
    packed: bytes
    tag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> File:
        """The file with this name and content."""
        suffix = name[name.rindex(".") :] if "." in name else ""
        digest = hashlib.sha256(body).hexdigest()[:20]
        return cls(TYPES[suffix], body, gzip.compress(body, mtime=0), digest)


@dataclass(frozen=True, slots=True)
class Site:
    """The page, and all other files by their path below the assets' address."""

    version: str
    page: File
    assets: Mapping[str, File]


@cache
def site() -> Site:
    """The files of the package. The first call reads and compresses them, which takes some 50 ms."""
    texts = dict(_walk(resources.files(__package__) / "static", ""))
    everything = b"".join(name.encode() + b"\0" + texts[name] + b"\0" for name in sorted(texts))
    version = hashlib.sha256(everything).hexdigest()[:12]
    page = texts.pop(PAGE).decode()
    # All modules at once: a browser would find them one after another, as they import each other.
    modules = sorted(name for name in texts if name.endswith(".js"))
    preloads = "\n    ".join(f'<link rel="modulepreload" href="{{assets}}/{name}">' for name in modules)
    # A relative address, so that a proxy may add a prefix.
    page = page.replace("{preloads}", preloads).replace("{assets}", f"dashboard/assets/{version}")
    assets = {name: File.of(name, body) for name, body in texts.items()}
    return Site(version, File.of(PAGE, page.encode()), assets)


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_bytes()


def routes(*, enabled: Callable[[], bool]) -> list[Route]:
    """`/dashboard` and its files; GET and HEAD. While `enabled` returns false, because there is no admin key,
    these paths are unknown."""

    async def load() -> Site:
        # The first time in a thread: messages of clients do not wait for it.
        return site() if site.cache_info().currsize else await asyncio.to_thread(site)

    async def page(request: Request) -> Response:
        return _answer(request, (await load()).page, CHECK_EACH_TIME)

    async def asset(request: Request) -> Response:
        found = await load()
        version, _, name = str(request.path_params["name"]).partition("/")
        file = found.assets.get(name)
        if file is None:
            raise HTTPException(404)
        # While a cluster is updated, the page may come from a node of another release than this one. The
        # browser gets what there is, and does not keep it under the other version's address.
        return _answer(request, file, KEEP if version == found.version else CHECK_EACH_TIME)

    async def slash(_request: Request) -> Response:
        # Relative addresses in the page need the one form of its own address.
        return Response(status_code=308, headers={"Location": "../dashboard", **SECURITY})

    return [
        _While(PATH, page, enabled),
        _While(f"{PATH}/", slash, enabled),
        _While(f"{PATH}/assets/{{name:path}}", asset, enabled),
    ]


class _While(Route):
    """Matches while `enabled` returns true."""

    def __init__(
        self, path: str, endpoint: Callable[[Request], Awaitable[Response]], enabled: Callable[[], bool]
    ) -> None:
        super().__init__(path, endpoint)
        self._enabled = enabled

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As in Starlette."""
        return super().matches(scope) if self._enabled() else (Match.NONE, {})


def _answer(request: Request, file: File, caching: str) -> Response:
    packed = "gzip" in request.headers.get("accept-encoding", "")
    tag = f'"{file.tag}-gz"' if packed else f'"{file.tag}"'
    headers = {**SECURITY, "Cache-Control": caching, "ETag": tag, "Vary": "Accept-Encoding"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if packed else file.body, 200, headers, file.content_type)
