"""The command line.

Commands import what they need when they run. `moorage token create` in a shell loop must not pay for an
event loop, a metrics library and an HTTP server, and an installation without the extra `server` has none
of them. Exit codes: 0 done, 1 refused (configuration, start, no service installed), 2 wrong usage.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from moorage import __version__, cli_drain, cli_nodes

if TYPE_CHECKING:
    from moorage.config.model import Config

SERVICE_MODULES = ("httptools", "prometheus_client", "starlette", "structlog", "uvicorn", "uvloop")
"""The modules that the extra `server` installs."""

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

config_option = click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Configuration file: YAML, or TOML or JSON by its suffix.",
)
set_option = click.option(
    "--set",
    "assignments",
    metavar="PATH=VALUE",
    multiple=True,
    help="Override one setting, such as --set limits.max_payload=2MiB. May be repeated.",
)

workers_option = click.option(
    "--workers",
    metavar="N|auto",
    help="Processes that share the port; auto: one for each CPU.  [default: 1]",
)


@click.group(context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="moorage", message="%(prog)s %(version)s")
def app() -> None:
    """Moorage: a self-hosted Socket.IO service.

    \b
    Try it:      moorage dev
    Run it:      moorage config init && moorage serve -c moorage.yaml

    Settings come from flags, MOORAGE_... variables, the file and the defaults, in this order.
    """


@app.command()
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
    _need_service()
    from moorage import logs
    from moorage.config import load

    flags = _flags(
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
    settings = load.load(None, os.environ, flags, base=base)
    if not settings.keys.primary:
        settings = load.load(None, os.environ, {**flags, "keys.primary": _new_key()}, base=base)

    def on_ready(url: str) -> None:
        public = settings.server.public_endpoint or url
        client_path = f"/clients/socketio/hubs/{settings.default_hub}"
        lines = [
            f"Connection string  Endpoint={public};AccessKey={settings.keys.primary};Version=1.0;",
            f'Clients            io("{public}", {{ path: "{client_path}" }})',
            f"Health             {url}/healthz",
        ]
        if settings.metrics.enabled:
            lines.append(f"Metrics            {url}/metrics")
        logs.say("\n".join(lines))

    _start_logs(settings)
    raise SystemExit(_run(settings, on_ready=on_ready))


@app.command()
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
    SIGHUP reads the configuration again and applies keys and hubs.
    """
    _need_service()
    from moorage.config import load
    from moorage.config.model import ConfigError

    flags = _flags(
        assignments,
        {"server.host": host, "server.port": port, "log.level": log_level, "workers": workers},
    )
    settings = load.load(path, os.environ, flags, serving=True)
    _start_logs(settings)

    from moorage import logs

    log = logs.get("cli")
    current = settings

    def reload() -> Config:
        # An error in the file must not end a running service: it keeps its settings.
        nonlocal current
        try:
            new = load.load(path, os.environ, flags, serving=True)
        except ConfigError as error:
            log.error("reload refused", problems=list(error.problems))
            return current
        for warning in set(new.warnings).difference(current.warnings):
            log.warning(warning)
        found = load.changes(current, new)
        log.info("reloaded", applied=list(found.applied), needs_restart=list(found.needs_restart))
        current = load.reloaded(current, new)
        return current

    def on_ready(url: str) -> None:
        log.info("ready", url=url)

    raise SystemExit(_run(settings, reload=reload, on_ready=on_ready))


app.add_command(cli_drain.drain)
app.add_command(cli_nodes.nodes)


@app.group("config")
def config_group() -> None:
    """Write, check and show the configuration."""


@config_group.command("check")
@config_option
@set_option
def config_check(path: str | None, assignments: tuple[str, ...]) -> None:
    """Report every error in the configuration.

    The exit code is 1 if there is any. A missing access key is an error, since a service needs one.
    """
    from moorage.config import load

    settings = load.load(path, os.environ, _flags(assignments), serving=True)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"{path or 'environment'}: ok")


@config_group.command("show")
@config_option
@click.option("--defaults", is_flag=True, help="Show the defaults.")
@set_option
def config_show(path: str | None, defaults: bool, assignments: tuple[str, ...]) -> None:
    """Show the settings in effect and their sources. Keys are masked."""
    from moorage.config import load
    from moorage.config import text as config_text
    from moorage.config.model import Config

    if defaults:
        click.echo(config_text.render(Config()), nl=False)
        return
    settings, sources = load.resolve(path, os.environ, _flags(assignments))
    click.echo(config_text.render(settings, sources), nl=False)


@config_group.command("init")
@click.option(
    "-o", "--output", metavar="FILE", default="moorage.yaml", show_default=True, help="The file to write."
)
def config_init(output: str) -> None:
    """Write a commented configuration file with fresh keys. An existing file is never changed."""
    from moorage.config import text as config_text

    text = config_text.starter(_new_key(), _new_key())
    try:
        # With O_EXCL and the mode at creation, nobody can read the keys in between and no file is
        # overwritten.
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{output} exists; nothing was written") from None
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    click.echo(f"{output} written, with two fresh access keys. Next: moorage serve -c {output}")


@app.group()
def token() -> None:
    """Work with access tokens."""


@token.command("create")
@click.option("--hub", metavar="HUB", required=True, help="The hub of the token.")
@click.option("--user", metavar="USER", help="User id (claim `sub`).")
@click.option("--ttl", metavar="DURATION", help="Lifetime of the token.  [default: auth.token_ttl, 1h]")
@click.option("--group", "groups", metavar="GROUP", multiple=True, help="Group to join. May be repeated.")
@click.option("--role", "roles", metavar="ROLE", multiple=True, help="Role. May be repeated.")
@click.option(
    "--endpoint",
    metavar="URL",
    help="URL by which clients reach the service.  [default: server.public_endpoint, or host and port]",
)
@click.option("--access-key", metavar="KEY", help="Key to sign with.  [default: keys.primary]")
@config_option
def token_create(
    *,
    hub: str,
    user: str | None,
    ttl: str | None,
    groups: tuple[str, ...],
    roles: tuple[str, ...],
    endpoint: str | None,
    access_key: str | None,
    path: str | None,
) -> None:
    """Print an access token for a client."""
    import time
    from urllib.parse import quote

    from moorage.auth import AccessKeys, sign
    from moorage.config import load

    flags = {"keys.primary": access_key, "auth.token_ttl": ttl, "server.public_endpoint": endpoint}
    settings = load.load(path, os.environ, _flags((), flags))
    if not settings.keys.primary:
        raise click.UsageError("no key to sign with: give --access-key, -c or MOORAGE_KEYS_PRIMARY")
    audience = f"{_endpoint(settings)}/clients/socketio/hubs/{quote(_hub(hub), safe='')}"
    keys = AccessKeys(settings.keys.primary, settings.keys.secondary)
    now = time.time()
    click.echo(sign(keys, audience, now, settings.auth.token_ttl, user=user, groups=groups, roles=roles))


@app.command()
def version() -> None:
    """Print the version."""
    click.echo(f"moorage {__version__}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. `argv` does not include the program's name."""
    from moorage.wire.errors import UsageError

    try:
        outcome = app.main(list(argv) if argv is not None else None, "moorage", standalone_mode=False)
    except click.UsageError as error:
        where = f" ({error.ctx.command_path} --help shows the options)" if error.ctx else ""
        return _fail(2, error.format_message() + where)
    except click.ClickException as error:
        return _fail(1, error.format_message())
    except UsageError as error:
        return _refuse(str(error).splitlines())
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader (such as `| head`) is gone. Without this, Python fails again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(1, str(error))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return outcome if isinstance(outcome, int) else 0


def _fail(code: int, text: str) -> int:
    click.echo(f"moorage: {text}", err=True)
    return code


def _refuse(problems: Sequence[str]) -> int:
    if len(problems) == 1:
        return _fail(1, problems[0])
    lines = "".join(f"\n  {problem}" for problem in problems)
    return _fail(1, f"the configuration is refused, {len(problems)} problems:{lines}")


def _need_service() -> None:
    """Refuse a command that runs the service if only the SDK and the command line are installed."""
    from importlib.util import find_spec

    missing = ", ".join(name for name in SERVICE_MODULES if find_spec(name) is None)
    if missing:
        install = 'pip install "moorage[server]"'
        raise click.ClickException(f"the service is not installed (missing: {missing}); to add it: {install}")


def _flags(assignments: Sequence[str], named: dict[str, Any] | None = None) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--set {text}: expected PATH=VALUE")
        flags[path.strip()] = value
    flags.update({path: value for path, value in (named or {}).items() if value is not None})
    return flags


def _new_key() -> str:
    # 32 random bytes in 43 characters that need no quoting in a connection string or a shell.
    import secrets

    return secrets.token_urlsafe(32)


def _hub(name: str) -> str:
    from moorage.config.rules import Rule, expected
    from moorage.wire.azure.dataplane import HUB_NAME

    if not HUB_NAME.fullmatch(name):
        raise click.UsageError(f"--hub {name}: expected {expected(Rule('hub'))}")
    return name


def _endpoint(settings: Config) -> str:
    server = settings.server
    if server.public_endpoint:
        return server.public_endpoint
    if server.port == 0 or server.host in ("0.0.0.0", "::", "*"):  # noqa: S104 - compared, not bound
        # The service would refuse a token for a guessed address, and the reason would be hard to find.
        raise click.UsageError("give --endpoint: the configuration does not say how clients reach us")
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"


def _run(
    settings: Config, *, reload: Callable[[], Config] | None = None, on_ready: Callable[[str], None]
) -> int:
    import msgspec

    from moorage import logs
    from moorage.workers import machine

    count = machine.workers(settings.workers)
    lacking = machine.warnings(settings, count, files=machine.raise_file_limit(), memory=machine.memory())
    settings = msgspec.structs.replace(settings, warnings=(*settings.warnings, *lacking))
    try:
        if count == 1:
            from moorage import app_process

            return app_process.serve(settings, reload=reload, on_ready=on_ready)
        from moorage.workers import supervisor

        return supervisor.serve(settings, count, reload=reload, on_ready=on_ready)
    finally:
        logs.close()


def _start_logs(settings: Config) -> None:
    from moorage import logs

    logs.setup(level=settings.log.level, format=settings.log.format)
