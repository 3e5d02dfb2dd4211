"""`moorage dev` and `moorage serve`: run the service."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from moorage.cli.options import config_option, flags, new_key, set_option, workers_option

if TYPE_CHECKING:
    from moorage.app.start import Read
    from moorage.config.model import Config

SERVICE_MODULES = ("httptools", "prometheus_client", "starlette", "uvicorn", "uvloop")
"""The modules that the extra `server` installs."""


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", metavar="PORT", help="Port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--access-key", metavar="KEY", help="Access key.  [default: a new random one each time]")
@click.option("--hub", metavar="HUB", help="Hub behind plain /socket.io/.  [default: app]")
@workers_option
@set_option
def dev(
    *,
    host: str | None,
    port: str | None,
    access_key: str | None,
    hub: str | None,
    workers: str | None,
    assignments: tuple[str, ...],
) -> None:
    """Run a service for development, in memory, with a readable log.

    Prints the connection string for the app server and the line for the clients.
    """
    need_service()
    with _uncollected():
        from moorage import logs
        from moorage.config import load

    given = flags(
        assignments,
        {
            "server.host": host,
            "server.port": port,
            "keys.primary": access_key,
            "default_hub": hub,
            "workers": workers,
        },
    )
    base = {"log.format": "human", "log.connects": True, "cors.credentials": "any"}
    settings = load.load(None, os.environ, given, base=base)
    fresh = {} if settings.keys.primary else {"keys.primary": new_key()}
    if not settings.admin.enabled:
        fresh["admin.operate_key"] = new_key()
    settings = load.load(None, os.environ, {**given, **fresh}, base=base)

    def on_ready(url: str) -> None:
        public = settings.server.public_endpoint or url
        client_path = f"/clients/socketio/hubs/{settings.default_hub}"
        lines = [
            f"Connection string  Endpoint={public};AccessKey={settings.keys.primary};Version=1.0;",
            f'Clients            io("{public}", {{ path: "{client_path}" }})',
            f"Dashboard          {url}/dashboard#key={settings.admin.operate_key or settings.admin.read_key}",
            f"Health             {url}/healthz",
        ]
        if settings.metrics.enabled:
            lines.append(f"Metrics            {url}/metrics")
        logs.say("\n".join(lines))

    _start_logs(settings)
    raise SystemExit(_run(settings, on_ready=on_ready))


@click.command()
@config_option
@click.option("--host", metavar="ADDRESS", help="Address to listen on (server.host).")
@click.option("--port", metavar="PORT", help="Port to listen on (server.port).")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error (log.level).")
@workers_option
@set_option
def serve(
    *,
    path: str | None,
    host: str | None,
    port: str | None,
    log_level: str | None,
    workers: str | None,
    assignments: tuple[str, ...],
) -> None:
    """Run the service.

    SIGTERM and SIGINT drain it: not ready, no new clients, the others closed at a pace, end.
    SIGHUP reads the configuration again and applies keys, hubs, lists of addresses and certificates.
    """
    need_service()
    with _uncollected():
        from moorage.config import load
        from moorage.config.model import ConfigError

    given = flags(
        assignments,
        {"server.host": host, "server.port": port, "log.level": log_level, "workers": workers},
    )
    settings = load.load(path, os.environ, given, serving=True)
    _start_logs(settings)

    from moorage import logs

    log = logs.get("cli")
    current = settings

    def read() -> Callable[[], Config]:
        try:
            return partial(reloaded, load.load(path, os.environ, given, serving=True))
        except ConfigError as error:
            return partial(refused, error.problems)

    def refused(problems: Sequence[str]) -> Config:
        # An error in the file must not end a running service: it keeps its settings.
        log.error("reload refused", problems=list(problems))
        return current

    def reloaded(new: Config) -> Config:
        nonlocal current
        for warning in set(new.warnings).difference(current.warnings):
            log.warning(warning)
        found = load.changes(current, new)
        log.info("reloaded", applied=list(found.applied), needs_restart=list(found.needs_restart))
        current = load.reloaded(current, new)
        return current

    def on_ready(url: str) -> None:
        log.info("ready", url=url)

    raise SystemExit(_run(settings, reload=read, on_ready=on_ready))


def need_service() -> None:
    """Refuse a command that runs the service if only the SDK and the command line are installed."""
    from importlib.util import find_spec

    missing = ", ".join(name for name in SERVICE_MODULES if find_spec(name) is None)
    if missing:
        from moorage.config.extras import how_to_add

        raise click.ClickException(
            f"the service is not installed (missing: {missing}); {how_to_add('server')}"
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import without garbage collections. What modules make stays, and to walk it again and again would take
    a sixth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _run(settings: Config, *, reload: Read | None = None, on_ready: Callable[[str], None]) -> int:
    import msgspec

    from moorage import logs
    from moorage.workers import machine

    count = machine.workers(settings.workers)
    lacking = machine.warnings(settings, count, files=machine.raise_file_limit(), memory=machine.memory())
    settings = msgspec.structs.replace(settings, warnings=(*settings.warnings, *lacking))
    try:
        if count == 1:
            with _uncollected():
                from moorage.app import process

            return process.serve(settings, reload=reload, on_ready=on_ready)
        from moorage.workers import supervisor

        return supervisor.serve(settings, count, reload=reload, on_ready=on_ready)
    finally:
        logs.close()


def _start_logs(settings: Config) -> None:
    from moorage import logs

    logs.setup(level=settings.log.level, format=settings.log.format)
