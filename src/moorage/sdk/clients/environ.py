"""A client's handshake as the WSGI environment that python-socketio hands to `connect` handlers. What
`python-engineio` builds from a request of its own web server, built from the request that the service has
seen. `asgi.scope` is there too, as handlers under ASGI servers look for headers in it."""

from __future__ import annotations

import io
import sys
from typing import Any, TypedDict
from urllib.parse import unquote

import orjson

from moorage.wire.moorage.v1 import Open

Environ = dict[str, Any]


class Handshake(TypedDict, total=False):
    """The `handshake` of an `Open` frame (and of a row of `Sockets`)."""

    headers: dict[str, list[str]]
    query: dict[str, list[str]]
    claims: dict[str, list[str]]
    url: str
    address: str
    secure: bool
    issued: int


def parse_handshake(data: bytes) -> Handshake:
    """Never raises: parts that cannot be read are left out."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}  # type: ignore[return-value]


def parse_headers(data: bytes) -> dict[str, list[str]]:
    """The `Headers` of a `Sockets` frame. Never raises."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def environ_of(frame: Open) -> Environ:
    """The environment of a client. Beyond WSGI: `moorage.connection_id`, `moorage.user_id` (None without
    an access token), `moorage.claims` (each claim a list of strings), `moorage.handshake`, the JSON
    in which the service told all this, and `moorage.recovered`: True while the `connect` handler of a socket
    runs that goes on after its connection was lost."""
    handshake = parse_handshake(frame.handshake)
    path, _, query = handshake.get("url", "").partition("?")
    headers = handshake.get("headers", {})
    scheme = "https" if handshake.get("secure") else "http"
    host, _, port = headers.get("host", [""])[0].rpartition(":")
    if not host or not port.isdecimal():
        host, port = headers.get("host", ["moorage"])[0], "443" if scheme == "https" else "80"
    address = handshake.get("address", "")
    environ: Environ = {
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.async": True,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.url_scheme": scheme,
        "SERVER_SOFTWARE": "moorage",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path),
        "QUERY_STRING": query,
        "RAW_URI": handshake.get("url", ""),
        "REQUEST_URI": handshake.get("url", ""),
        "REMOTE_ADDR": address,
        "REMOTE_PORT": "0",
        "asgi.scope": _scope(path, query, headers, scheme, address),
        "moorage.connection_id": frame.id,
        "moorage.user_id": frame.user,
        "moorage.claims": handshake.get("claims", {}),
        "moorage.handshake": frame.handshake,
        "moorage.recovered": False,
        "moorage.handed_over": False,
    }
    # A name with `_` and one with `-` come to the same here: the one with `-`, which a proxy may have
    # set and vouch for, counts.
    for name, values in sorted(headers.items(), key=lambda header: "-" in header[0]):
        if name in ("content-type", "content-length"):
            environ[name.upper().replace("-", "_")] = values[0]
        else:
            joint = "; " if name == "cookie" else ","
            environ["HTTP_" + name.upper().replace("-", "_")] = joint.join(values)
    return environ


def _scope(path: str, query: str, headers: dict[str, list[str]], scheme: str, address: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "client": (address, 0),
        "headers": [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, values in headers.items()
            for value in values
        ],
    }
