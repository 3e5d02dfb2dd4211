"""`moorage doctor`: look at a configuration, this machine, and what the service needs around it."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import os

import click

from moorage.cli.doctor.findings import FAILED, Finding, document, failed, lines
from moorage.cli.options import config_option, flags, set_option


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@set_option
def doctor(*, path: str | None, as_json: bool, assignments: tuple[str, ...]) -> None:
    """Say what would keep the service from running well here, and how to put it right.

    Looks at the configuration, open files, memory, the port, the clock, certificates, NATS and the public
    endpoint. Changes nothing. The exit code is 3 if a check has failed; a warning is no failure.
    """
    found = _findings(path, assignments)
    click.echo(document(found, config=path or "environment") if as_json else lines(found))
    if failed(found):
        raise SystemExit(FAILED)


def _findings(path: str | None, assignments: tuple[str, ...]) -> list[Finding]:
    from moorage.cli.doctor import checks
    from moorage.config import load
    from moorage.config.model import ConfigError

    try:
        config = load.load(path, os.environ, flags(assignments), serving=True)
    except ConfigError as error:
        fix = (
            "docs/reference/configuration.md describes each setting; moorage config show shows their sources"
        )
        return [Finding("configuration", "fail", problem, fix) for problem in error.problems]
    return list(checks.findings(config))
