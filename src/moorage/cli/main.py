"""The command line.

Commands import what they need when they run. `moorage token create` in a shell loop must not pay for an
event loop, a metrics library and an HTTP server, and an installation without the extra `server` has none
of them. Exit codes: 0 done, 1 refused (configuration, start, no service installed), 2 wrong usage, 3 what
the command asked about is not as it should be.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from moorage import __version__
from moorage.cli import bench, drain, health, nodes, service, settings, tokens, trace
from moorage.cli.doctor import command
from moorage.cli.operate import connections, emit, lists, top

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="moorage", message="%(prog)s %(version)s")
def app() -> None:
    """Moorage: a self-hosted Socket.IO service.

    \b
    Try it:      moorage dev
    Run it:      moorage config init && moorage serve -c moorage.yaml

    Settings come from flags, MOORAGE_... variables, the file and the defaults, in this order.
    """


for _command in (
    service.dev,
    service.serve,
    drain.drain,
    health.health,
    nodes.nodes,
    lists.hubs,
    lists.apps,
    lists.rooms,
    connections.connections,
    emit.emit,
    top.top,
    command.doctor,
    bench.bench,
    settings.config_group,
    tokens.token,
    trace.trace,
):
    app.add_command(_command)


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
