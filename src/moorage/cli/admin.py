"""The way of commands to the Admin API of a running service, which any node answers for its whole cluster."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from http.client import HTTPException
from typing import Any, Final, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click

from moorage.cli.options import local_url, why_unreached

SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 45.0
"""Seconds after which a silent stream is given up. The service sends something more often."""

Values = Mapping[str, str | int | float | None]


class Access(NamedTuple):
    """The address and the key of a service, from the options of `admin_options`."""

    url: str | None = None
    key: str | None = None
    path: str | None = None
    """The configuration file."""

    def over(self, other: Access) -> Access:
        """Own values, and those of `other` where there are none."""
        return Access(*(mine or theirs for mine, theirs in zip(self, other, strict=True)))

    def api(self) -> AdminApi:
        """The API there. Raises `UsageError` if something is missing."""
        url, key, path = self
        if not url or not key:
            from moorage.config import load

            settings = load.load(path, os.environ, {})
            key = key or settings.admin.operate_key or settings.admin.read_key
            if not key:
                raise click.UsageError("no key of the Admin API: give --key, MOORAGE_ADMIN_KEY or -c")
            url = url or settings.server.public_endpoint or local_url(settings.server)
        return AdminApi(url, key)


def admin_options(call: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say where the service is. The command gets them as one argument, `access`."""

    @wraps(call)
    def command(*arguments: Any, url: str | None, key: str | None, path: str | None, **options: Any) -> Any:
        return call(*arguments, access=Access(url, key, path), **options)

    for option in (
        click.option(
            "-c",
            "--config",
            "path",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="Configuration file of the service, for what --url and --key do not say.",
        ),
        click.option(
            "--key",
            envvar="MOORAGE_ADMIN_KEY",
            metavar="KEY",
            help="Key of the Admin API.  [default: MOORAGE_ADMIN_KEY, or that of the configuration]",
        ),
        click.option(
            "--url",
            envvar="MOORAGE_ADMIN_URL",
            metavar="URL",
            help="Any node of the service.  [default: MOORAGE_ADMIN_URL, or the configuration's address]",
        ),
    ):
        option(command)
    return command


class AdminApi:
    """The Admin API at `url`. Its methods raise `ClickException` with the service's own message."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._key = key

    def get(self, path: str, query: Values | None = None) -> Any:
        """The JSON of a GET. `path` begins with `/api/v1/`; values of `query` that are None are left out."""
        return self._json(self._request("GET", path, query))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON of a POST; None for an empty answer."""
        return self._json(self._request("POST", path, None, json.dumps(body).encode()))

    def stream(self, path: str, query: Values | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """The server-sent events of a GET, each with its name and its JSON, until the service ends them."""
        name, data = "message", ""
        with self._open(self._request("GET", path, query), SILENCE_SECONDS) as answer:
            for line in answer:
                field, _, value = line.decode(errors="replace").rstrip("\r\n").partition(":")
                if field == "event":
                    name = value.strip()
                elif field == "data":
                    data += value.removeprefix(" ")
                elif not field and not value and data:
                    yield name, json.loads(data)
                    name, data = "message", ""

    def _request(self, method: str, path: str, query: Values | None, body: bytes | None = None) -> Request:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self.url}{path}{'?' if given else ''}{urlencode(given)}"
        headers = {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        # The user's own URL.
        return Request(url, data=body, headers=headers, method=method)  # noqa: S310

    def _json(self, request: Request) -> Any:
        with self._open(request, SECONDS) as answer:
            body = answer.read()
            return json.loads(body) if body else None

    @contextmanager
    def _open(self, request: Request, seconds: float) -> Iterator[Any]:
        url = request.full_url.partition("?")[0]
        try:
            with build_opener(_NoRedirects).open(request, timeout=seconds) as answer:
                yield answer
        except HTTPError as error:
            with error:
                raise click.ClickException(f"{url}: {error.code} {_message(error)}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise click.ClickException(f"{url}: {why_unreached(error)}") from None


class _NoRedirects(HTTPRedirectHandler):
    """Makes a redirect an error. urllib would send the key to any host, and turn a POST into a GET."""

    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect."""


def _message(error: HTTPError) -> str:
    """The service's message about a refusal."""
    if 300 <= error.code < 400:
        return f"redirects to {error.headers.get('Location')}: give the address behind it as --url"
    try:
        answer = json.loads(error.read())
        return f"{answer['message']} ({answer['inner']['code']} {answer['code']})"
    except (OSError, ValueError, KeyError, TypeError):
        if error.code == 404:
            return "not found: the Admin API is off unless admin.read_key or admin.operate_key is set"
        return str(error.reason)
