"""`moorage drain`: tells a running service or worker of this machine to drain, and waits for its end."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import click

PROC: Final = Path("/proc")
WORKER: Final = "moorage.workers.worker"
"""A part of the command line of a worker's process."""


@click.command()
@click.argument("pid", type=click.IntRange(min=1), required=False)
@click.option("--no-wait", is_flag=True, help="Do not wait for its end.")
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(min=0), help="Wait no longer than this.")
def drain(pid: int | None, *, no_wait: bool, timeout: float | None) -> None:
    """Drain a running service, and wait until it has ended.

    It is not ready from now on, takes no new clients, closes the others at shutdown.rate, and ends. PID is
    the process of a service, or of one worker, which its supervisor starts again. It is not needed if only
    one service runs on this machine. Sends SIGTERM.
    """
    found = the_only_one() if pid is None else pid
    try:
        # The descriptor names the process itself, also after another one has got its number.
        process = os.pidfd_open(found)
    except ProcessLookupError:
        raise click.ClickException(f"process {found}: there is none") from None
    try:
        if not is_ours(command_of(found)):
            raise click.ClickException(f"process {found} is not a service of Moorage")
        try:
            signal.pidfd_send_signal(process, signal.SIGTERM)
        except PermissionError:
            raise click.ClickException(f"process {found} belongs to another user") from None
        if not no_wait and not _ends(process, timeout):
            raise click.ClickException(f"process {found} still runs after {timeout:g} s")
    finally:
        os.close(process)


def _ends(process: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def the_only_one() -> int:
    """The process of the only service on this machine. Raises `ClickException`."""
    found = sorted(services())
    if not found:
        raise click.ClickException("no service runs here: give the process id of one that you can see")
    if len(found) > 1:
        pids = ", ".join(map(str, found))
        raise click.ClickException(f"several services run here (processes {pids}): give one process id")
    return found[0]


def services() -> Iterator[int]:
    """The processes of services on this machine, without the workers of a supervisor."""
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            command = command_of(int(folder.name))
            if is_ours(command) and not _is_worker(command):
                yield int(folder.name)


def command_of(pid: int) -> list[str]:
    """The command line of a process; nothing if there is none."""
    try:
        # A zero byte ends each argument, which may be empty.
        text = (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace")
        return text.removesuffix("\0").split("\0")
    except OSError:
        return []


def is_ours(command: list[str]) -> bool:
    """True if this is the command line of a service or a worker."""
    return _is_worker(command) or start_of(command) > 0


def start_of(command: list[str]) -> int:
    """The index of `dev` or `serve` in the command line of a service; 0 if it is none."""
    for at, (before, argument) in enumerate(pairwise(command), 1):
        if argument in ("dev", "serve") and Path(before).name in ("moorage", "__main__.py"):
            return at
    return 0


def _is_worker(command: list[str]) -> bool:
    return any(WORKER in argument for argument in command[:6])
