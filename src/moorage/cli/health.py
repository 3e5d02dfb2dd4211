"""`moorage health`: asks a service of this machine whether it is ready, at the port and with the scheme of
its configuration. Made for health checks of containers, which know neither."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any, Final

import click

from moorage.cli.drain import command_of, start_of, the_only_one
from moorage.cli.options import config_option, flags, local_host, local_url, set_option
from moorage.cli.service import dev, serve

if TYPE_CHECKING:
    from moorage.config.model import Config
    from moorage.edge.settings import ServerSettings

NOT_READY: Final = 3
"""The exit code if the service answers that it is not ready."""


@click.command()
@click.argument("pid", type=click.IntRange(min=1), required=False)
@config_option
@click.option("--live", is_flag=True, help="Ask whether it runs, not whether it takes clients.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Wait no longer than this for its answer.",
)
@set_option
def health(
    *, pid: int | None, path: str | None, live: bool, timeout: float, assignments: tuple[str, ...]
) -> None:
    """Ask the service on this machine whether it is ready (/readyz, or /healthz with --live).

    Its address comes from the configuration: that of -c and --set, or that with which the service was
    started. PID is the process of the service. It is not needed if only one service runs on this machine.
    Any certificate is accepted. The exit code is 1 if it does not answer, and 3 if it is not ready.
    """
    from http.client import HTTPException

    if path is None and not assignments:
        config = _started_with(the_only_one() if pid is None else pid)
    else:
        from moorage.config import load

        config = load.load(path, os.environ, flags(assignments))
    url = local_url(config.server)
    if config.server.port == 0:
        raise click.ClickException("server.port is 0: only the log of the service tells its port")
    try:
        status, body = ask(config.server, "/healthz" if live else "/readyz", timeout)
    except (OSError, HTTPException) as error:
        raise click.ClickException(f"{url} does not answer: {error or type(error).__name__}") from None
    if status == 200:
        click.echo(f"{url} {'runs' if live else 'is ready'}")
    elif status == 503 and (reason := _reason(body)):
        click.echo(f"{url} is not ready: {reason}")
        raise SystemExit(NOT_READY)
    else:
        raise click.ClickException(f"{url} answers {status}: is another program there?")


def _started_with(pid: int) -> Config:
    """The settings of the options with which a service was started, and of this environment, which in a
    container is that of the service, too. Raises `ClickException` and `ConfigError`."""
    from moorage.config import load

    words = command_of(pid)
    at = start_of(words)
    if not at:
        raise click.ClickException(f"process {pid} is not a service of Moorage")
    command = dev if words[at] == "dev" else serve
    given: dict[str, Any] = command.make_context(words[at], words[at + 1 :]).params
    named = {"server.host": given["host"], "server.port": given["port"]}
    return load.load(given.get("path"), os.environ, flags(given["assignments"], named))


def ask(server: ServerSettings, path: str, timeout: float) -> tuple[int, bytes]:
    """Status and body of the answer of this machine's service with these settings. Raises `OSError` and
    `HTTPException`."""
    from http.client import HTTPConnection

    host = local_host(server)
    connection = HTTPConnection(host, server.port, timeout=timeout)
    with socket.create_connection((host, server.port), timeout) as plain:
        connection.sock = _secured(plain, server)
        try:
            connection.request("GET", path)
            with connection.getresponse() as answer:
                return answer.status, answer.read()
        finally:
            connection.close()


def _secured(sock: socket.socket, server: ServerSettings) -> socket.socket:
    """The connection after what comes before HTTP: a PROXY header if this machine counts as a proxy, and the
    TLS handshake."""
    if server.proxy_protocol:
        from moorage.edge.http.forwarded import TrustedProxies
        from moorage.edge.tcp.header import OWN

        if TrustedProxies(server.trusted_proxies).trusts(sock.getsockname()[0]):
            sock.sendall(OWN)
    if not server.tls.cert_file:
        return sock
    import ssl

    context = ssl.create_default_context()
    # It has the certificate of the public name, and the connection does not leave this machine.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def _reason(body: bytes) -> str:
    """Why a service is not ready; "" if the answer is not that of a service."""
    try:
        return str(json.loads(body)["reason"])
    except (ValueError, KeyError, TypeError):
        return ""
