"""What `moorage doctor` looks at: the configuration, this machine, and what the service needs around it."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import urlopen

from moorage.cli.doctor.findings import Finding
from moorage.cli.health import ask

if TYPE_CHECKING:
    from moorage.config.model import Config
    from moorage.edge.settings import ServerSettings

SECONDS: Final = 5.0
MOST_SKEW: Final = 5.0
"""A clock that differs more from that of another machine is reported, although `auth.clock_skew` allows
more."""
_PROC: Final = Path("/proc/sys")
_UNSYNCHRONISED: Final = 5
"""TIME_ERROR: what adjtimex returns if no program keeps the clock right."""
_TIMEX_BYTES: Final = 512
"""More than `struct timex` of any architecture."""


def findings(config: Config) -> Iterator[Finding]:
    """All checks of a configuration that has been read without errors."""
    for check in CHECKS:
        yield from check(config)


def packages(_config: Config) -> Iterator[Finding]:
    """The modules that the service needs."""
    from importlib.util import find_spec

    from moorage.cli.service import SERVICE_MODULES
    from moorage.config.extras import how_to_add

    missing = [name for name in SERVICE_MODULES if find_spec(name) is None]
    if missing:
        fix = how_to_add("server")
        yield Finding(
            "packages", "fail", f"the service is not installed (missing: {', '.join(missing)})", fix
        )
    else:
        yield Finding("packages", "ok", f"the service is installed, Python {sys.version.split()[0]}")


def settings(config: Config) -> Iterator[Finding]:
    """The warnings that the service would show at its start."""
    for warning in config.warnings:
        path, _, text = warning.partition(": ")
        yield Finding("configuration", "warn", f"{path}: {text}" if text else path)
    if not config.warnings:
        yield Finding("configuration", "ok", "no errors and no warnings")


def machine(config: Config) -> Iterator[Finding]:
    """Descriptors, memory and CPUs."""
    from moorage.workers import machine as this

    count = this.workers(config.workers)
    files, memory = this.raise_file_limit(), this.memory()
    lacking = list(this.warnings(config, count, files=files, memory=memory))
    about_memory = [text for text in lacking if text.startswith("limits.outbox_total_bytes")]
    about_files = [text for text in lacking if text not in about_memory]
    yield _of("descriptors", about_files, f"{files:,} for each process, one for each client")
    yield _of("memory", about_memory, f"{memory / 1024**3:.1f} GiB")
    if count > this.cpus():
        text = f"{count} workers share {this.cpus()} CPUs"
        yield Finding("CPUs", "warn", text, "set workers: auto")
    else:
        yield Finding("CPUs", "ok", f"{this.cpus()} for {count} {'worker' if count == 1 else 'workers'}")


def _of(name: str, problems: list[str], fine: str) -> Finding:
    return Finding(name, "warn", "; ".join(problems)) if problems else Finding(name, "ok", fine)


def kernel(config: Config) -> Iterator[Finding]:
    """The backlog of the port."""
    most = _number(_PROC / "net/core/somaxconn")
    wanted = config.server.backlog
    if most is not None and most < wanted:
        text = f"the kernel lets {most} connects wait, and server.backlog asks for {wanted}"
        yield Finding("backlog", "warn", text, f"sysctl -w net.core.somaxconn={wanted}")
    else:
        yield Finding("backlog", "ok", f"{wanted} connects may wait")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def port(config: Config) -> Iterator[Finding]:
    """Check whether the service can listen, or already does."""
    server = config.server
    host = "" if server.host == "*" else server.host
    at = f"{server.host}:{server.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        yield _unusable(config, at, error)
    else:
        yield Finding("port", "ok", f"{at} is free: no service runs there now")


def _unusable(config: Config, at: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        status = _health(config.server)
        if status == 200:
            return Finding("port", "ok", f"a service answers at {at}")
        text = f"another program listens at {at}" if status is None else f"{at} answers {status} to /healthz"
        return Finding("port", "fail", text, "stop it, or choose another server.port")
    if error.errno in (errno.EACCES, errno.EPERM):
        fix = "use a port above 1023, or give the service CAP_NET_BIND_SERVICE"
        return Finding("port", "fail", f"this user may not listen at {at}", fix)
    fix = "server.host must be an address of this machine, or 0.0.0.0 for all"
    return Finding("port", "fail", f"{at}: {error.strerror or error}", fix)


def endpoint(config: Config) -> Iterator[Finding]:
    """The address for clients, and the clock of the machine behind it."""
    public = config.server.public_endpoint
    if not public:
        fix = "set server.public_endpoint to the URL that clients use, if a proxy changes the Host header"
        yield Finding(
            "endpoint", "ok", "server.public_endpoint is not set: tokens must name the requested address", fix
        )
        return
    answered, date = _ask(f"{public.rstrip('/')}/healthz")
    if answered is None:
        fix = "start the service and its proxy, and look at the DNS name and the certificate"
        yield Finding("endpoint", "warn", f"{public} does not answer", fix)
    elif answered != 200:
        yield Finding("endpoint", "warn", f"{public}/healthz answers {answered}", "the proxy must pass it on")
    else:
        yield Finding("endpoint", "ok", f"{public} answers")
    if date is not None and abs(date - time.time()) > MOST_SKEW:
        text = f"{abs(date - time.time()):.0f} s apart from that of {public}"
        yield Finding("clock", "fail", text, "keep both right with NTP; tokens depend on it")


def _health(server: ServerSettings) -> int | None:
    try:
        return ask(server, "/healthz", SECONDS)[0]
    except (OSError, HTTPException):
        return None


def _ask(url: str) -> tuple[int | None, float | None]:
    """Status and time of an answer."""
    try:
        with urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - from the configuration
            return answer.status, _moment(answer.headers.get("Date"))
    except HTTPError as error:
        with error:
            return error.code, _moment(error.headers.get("Date"))
    except (OSError, ValueError, HTTPException):
        return None, None


def _moment(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None


def clock(_config: Config) -> Iterator[Finding]:
    """Check whether a program keeps this machine's clock right."""
    state = _clock_state()
    if state is None:
        yield Finding("clock", "skip", "this system does not say whether its clock is synchronised")
    elif state == _UNSYNCHRONISED:
        fix = "run chrony or systemd-timesyncd; in a container, on its host"
        yield Finding(
            "clock", "warn", "nothing keeps this machine's clock right, and tokens depend on it", fix
        )
    else:
        yield Finding("clock", "ok", "synchronised")


def _clock_state() -> int | None:
    try:
        # All bits of `modes` are 0: it only reads.
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    except (OSError, AttributeError):
        return None


def certificate(config: Config) -> Iterator[Finding]:
    """The files of TLS. What cannot be used has stopped the reading of the configuration already."""
    tls = config.server.tls
    if not tls.cert_file:
        fix = "set server.tls.cert_file unless a proxy does TLS"
        public = config.server.public_endpoint.startswith("https:")
        yield Finding("TLS", "ok", "a proxy does it" if public else "off", "" if public else fix)
        return
    from moorage.edge.tcp.tls import make

    left = make(tls)[1].end - time.time()
    days = int(left // 86_400)
    if left <= 0:
        yield Finding(
            "TLS", "fail", f"the certificate has expired: {tls.cert_file}", "renew it, then send SIGHUP"
        )
    elif days < 14:
        yield Finding("TLS", "warn", f"the certificate expires in {days} days", "renew it, then send SIGHUP")
    else:
        yield Finding("TLS", "ok", f"the certificate is valid for {days} more days")


def nats(config: Config) -> Iterator[Finding]:
    """Log in at each NATS server."""
    urls = config.cluster.nats_url
    if not urls:
        yield Finding("NATS", "ok", "not used: a single node")
        return
    from msgspec.structs import replace

    for url in urls:
        alone = replace(config.cluster, nats_url=(url,), wait=0.0)
        try:
            server, milliseconds = asyncio.run(_log_in(alone))
        except Exception as error:
            fix = "start it, and compare cluster.nats_url and the login with its configuration"
            yield Finding("NATS", "fail", str(error), fix)
        else:
            yield Finding("NATS", "ok", f"{server}: logged in, and an answer after {milliseconds:.1f} ms")


async def _log_in(cluster: Any) -> tuple[str, float]:
    from moorage.cluster.nats.broker import NatsBroker

    broker = NatsBroker(cluster, f"doctor{os.getpid()}")
    await broker.connect()
    try:
        began = time.perf_counter()
        await asyncio.wait_for(broker.flush(), SECONDS)
        return broker.server, (time.perf_counter() - began) * 1000
    finally:
        broker.stop()
        await broker.closed()


def admin(config: Config) -> Iterator[Finding]:
    """Check whether the Admin API is on."""
    if config.admin.operate_key or config.admin.read_key:
        yield Finding("Admin API", "ok", "on: a key is set")
    else:
        fix = "set admin.read_key and admin.operate_key for the dashboard, moorage top and moorage trace"
        yield Finding("Admin API", "ok", "off", fix)


Check = Callable[["Config"], Iterator[Finding]]
CHECKS: Final[tuple[Check, ...]] = (
    packages, settings, machine, kernel, port, endpoint, clock, certificate, nats, admin,
)  # fmt: skip
