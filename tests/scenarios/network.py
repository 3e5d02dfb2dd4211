"""Network namespaces on one bridge: machines whose cables a scenario can pull. Needs root."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from itertools import count
from types import TracebackType
from typing import Self

import pytest

_numbers = count(1)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr}")


class Network:
    """Use as a context manager. Skips the test where namespaces cannot be made. This process is at `gate`;
    each machine has an address of its own behind it."""

    def __init__(self) -> None:
        # The names of interfaces have at most 15 characters, and the whole machine shares them.
        number = os.getpid() % 50_000
        self._tag = f"mo{number}x{next(_numbers)}"
        self._subnet = f"10.{100 + number % 100}.{number // 100 % 250}"
        self.gate = f"{self._subnet}.1"
        self._nowhere = f"{self._tag}n"
        """A bridge that is down. Without a bridge, this machine would take what a cut cable brings, because
        it has the address of the gate."""
        self._machines: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            _ip("link", "add", self._tag, "type", "bridge")
            self._stack.callback(_ip, "link", "del", self._tag)
            _ip("addr", "add", f"{self.gate}/24", "dev", self._tag)
            _ip("link", "set", self._tag, "up")
            _ip("link", "add", self._nowhere, "type", "bridge")
            self._stack.callback(_ip, "link", "del", self._nowhere)
        except OSError as error:
            self._stack.close()
            pytest.skip(f"no network namespaces here: {error}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, name: str) -> str:
        """A machine. Returns its address."""
        number = len(self._machines) + 2
        address = self._machines[name] = f"{self._subnet}.{number}"
        space, cable = self._space(name), self._cable(name)
        _ip("netns", "add", space)
        self._stack.callback(_ip, "netns", "del", space)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        inside = ("-n", space)
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip("link", "set", cable, "up")
        self.mend(name)
        return address

    def inside(self, name: str) -> tuple[str, ...]:
        """What to put in front of a command that runs at a machine."""
        return ("ip", "netns", "exec", self._space(name))

    def cut(self, name: str) -> None:
        """Nothing reaches the machine, and nothing comes from it. Nobody is told."""
        _ip("link", "set", self._cable(name), "master", self._nowhere)

    def mend(self, name: str) -> None:
        """Connect the machine again."""
        _ip("link", "set", self._cable(name), "master", self._tag)

    def part(self, name: str, other: str) -> None:
        """One machine does not answer another one any more, and both reach all others."""
        _ip("-n", self._space(name), "route", "add", "blackhole", self._machines[other])

    def join(self, name: str, other: str) -> None:
        """It answers again."""
        _ip("-n", self._space(name), "route", "del", "blackhole", self._machines[other])

    def _space(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def _cable(self, name: str) -> str:
        return f"{self._tag}{list(self._machines).index(name)}"
