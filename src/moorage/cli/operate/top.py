"""`moorage top`: a service while it runs."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from moorage.cli.admin import Access, AdminApi, admin_options
from moorage.cli.operate.frames import (
    COLUMNS,
    DEFAULT_SORT,
    PATHS,
    SORTS,
    VIEWS,
    Sample,
    frame,
    member_of,
    ordered,
    rates,
    rows_of,
)
from moorage.cli.tables import PARTIAL

FIRST_SECONDS: Final = 1.0
"""Rates need two samples. The first table comes after this time."""
_ALTERNATE: Final = ("\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l")
"""Use another screen without a cursor, and return."""
_HOME: Final = "\x1b[H\x1b[J"
HELP: Final = "n nodes  h hubs  c connections  a apps  r rooms   s sort by next column  o other order  q quit"


@click.command()
@click.argument(
    "view", type=click.Choice(VIEWS), default="nodes", metavar="[nodes|hubs|connections|apps|rooms]"
)
@click.option("--sort", metavar="COLUMN", help="Column to sort by, such as clients.")
@click.option("--up", is_flag=True, help="The smallest first.")
@click.option(
    "--interval", type=click.FloatRange(0.2), default=2.0, show_default=True, help="Seconds between two."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after this many tables.")
@click.option("--once", is_flag=True, help="One table; the same as --count 1.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line instead of tables.")
@admin_options
def top(
    view: str,
    *,
    access: Access,
    sort: str | None,
    up: bool,
    interval: float,
    count: int | None,
    once: bool,
    as_json: bool,
) -> None:
    """Show the nodes, hubs, busiest connections, app servers or rooms of a service while it runs.

    On a terminal: n, h, c, a and r change the view, s the column to sort by, o the order; q ends it. The exit
    code is 3 if nodes did not answer in the last table.
    """
    member = member_of(view, sort) if sort else DEFAULT_SORT[view]
    if member is None:
        heads = ", ".join(column.head.lower() for column in COLUMNS[view])
        raise click.UsageError(f"--sort {sort}: {view} has {heads}")
    shown = Screen(access.api(), view, member, up or member == "name")
    most = 1 if once else count
    if as_json or not (sys.stdout.isatty() and sys.stdin.isatty()) or most:
        shown.print(most, interval, as_json=as_json)
    else:
        with _terminal() as keys:
            shown.live(keys, interval)
    if shown.missing:
        raise SystemExit(PARTIAL)


class Screen:
    """The view that is shown, and the column by which it is sorted."""

    def __init__(self, api: AdminApi, view: str, member: str, up: bool) -> None:
        self._api = api
        self._view = view
        self._member = member
        self._up = up
        self.missing: list[str] = []

    def print(self, count: int | None, interval: float, *, as_json: bool) -> None:
        """Print tables one below the other."""
        before = self.sample()
        wait, done = FIRST_SECONDS, 0
        while count is None or done < count:
            time.sleep(wait)
            after = self.sample()
            if done and not as_json:
                click.echo()
            click.echo(self._json(before, after) if as_json else self._text(before, after, sys.maxsize))
            sys.stdout.flush()
            before, wait, done = after, interval, done + 1

    def live(self, keys: int, interval: float) -> None:
        """Rewrite one screen until q. `keys` is the descriptor of the keyboard."""
        before = after = self.sample()
        due = time.monotonic() + FIRST_SECONDS
        while True:
            lines = shutil.get_terminal_size().lines
            text = self._text(before, after, max(1, lines - 6))
            click.echo(f"{_HOME}moorage top {self._view}  {self._api.url}\n{text}\n\n{HELP}", nl=False)
            ready, _, _ = select.select([keys], [], [], max(0.0, due - time.monotonic()))
            if ready:
                if not self.press(os.read(keys, 1).decode("ascii", "replace")):
                    return
                after = self.sample()
            elif time.monotonic() >= due:
                before, after = after, self.sample()
                due = time.monotonic() + interval

    def press(self, key: str) -> bool:
        """Handle a key. Returns False for the end."""
        found = next((view for view in VIEWS if view[0] == key.lower()), None)
        members = [column.member for column in COLUMNS[self._view]]
        if found:
            self._view, self._member = found, DEFAULT_SORT[found]
            self._up = self._member == "name"
        elif key == "s":
            self._member = members[(members.index(self._member) + 1) % len(members)]
        elif key == "o":
            self._up = not self._up
        return key not in ("q", "Q", "\x03", "\x04", "")

    def sample(self) -> Sample:
        """Ask the service."""
        nodes = self._api.get(PATHS["nodes"])
        rows, missing = [], list(nodes["missing"])
        if self._view != "nodes":
            sort = SORTS.get(self._member) if self._view == "connections" else None
            answer = self._api.get(PATHS[self._view], {"sort": sort})
            rows = answer[self._view]
            missing = sorted({*missing, *answer["missing"]})
        self.missing = missing
        return Sample(time.monotonic(), nodes["nodes"], rows, missing)

    def _text(self, before: Sample, after: Sample, most: int) -> str:
        return frame(self._view, before, after, self._member, up=self._up, most=most)

    def _json(self, before: Sample, after: Sample) -> str:
        made: dict[str, Any] = {"time": time.time(), "missing": after.missing, "nodes": rates(before, after)}
        made[self._view] = ordered(rows_of(self._view, before, after), self._member, up=self._up)
        return json.dumps(made, ensure_ascii=False)


@contextmanager
def _terminal() -> Iterator[int]:
    """A screen of its own, and keys without Enter. Yields the descriptor of the keyboard."""
    import termios  # noqa: PLC0415 - not on every system
    import tty  # noqa: PLC0415

    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys)
        click.echo(_ALTERNATE[0], nl=False)
        yield keys
    finally:
        click.echo(_ALTERNATE[1], nl=False)
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
