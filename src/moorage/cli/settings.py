"""`moorage config`: write, check and show the configuration."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import os

import click

from moorage.cli.options import config_option, flags, new_key, set_option


@click.group("config")
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

    settings = load.load(path, os.environ, flags(assignments), serving=True)
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
    settings, sources = load.resolve(path, os.environ, flags(assignments))
    click.echo(config_text.render(settings, sources), nl=False)


@config_group.command("init")
@click.option(
    "-o", "--output", metavar="FILE", default="moorage.yaml", show_default=True, help="The file to write."
)
def config_init(output: str) -> None:
    """Write a commented configuration file with fresh keys. An existing file is never changed."""
    from moorage.config import text as config_text

    text = config_text.starter(new_key(), new_key())
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
