"""The service with TLS, and the service without it behind nginx, which has the certificate."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Final

from bench.errors import BenchError
from bench.process import Observed, Process, Together
from bench.servers import HOST, MOORAGE, NATIVE, Start, Target, app, free_port, node, service

PLAIN: Final = "plain"
_NGINX: Final = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log stderr;
{user}
events {{ worker_connections 32768; }}
http {{
    access_log off;
    {temp}
    upstream service {{ server {host}:{service}; keepalive 64; }}
    server {{
        listen {host}:{port} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 600s;
            proxy_buffering off;
        }}
    }}
}}
"""


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own authority, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not cert.exists():
        made = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]
        names = ["-subj", "/CN=bench", "-addext", f"subjectAltName=IP:{HOST}"]
        files = ["-keyout", str(key), "-out", str(cert)]
        subprocess.run(["openssl", *made, *names, *files], check=True, capture_output=True)
    return cert, key


def tls_flags(folder: Path) -> tuple[str, ...]:
    """Settings of a service with TLS."""
    cert, key = certificate(folder)
    return f"--set=server.tls.cert_file={cert}", f"--set=server.tls.key_file={key}"


def starts() -> dict[str, Start]:
    """By the name of the column: the service with TLS, nginx in front of it, and the service alone."""
    return {MOORAGE: _secure, NATIVE: _behind_nginx, PLAIN: _plain}


@contextmanager
def with_flags(logs: Path, *flags: str, ca: str = "") -> Iterator[Target]:
    """A service with these settings, and an app server of our Node.js SDK."""
    with (
        service(logs, flags=flags) as (process, address, string),
        app(logs, node("app/sdk.mjs"), string, NODE_EXTRA_CA_CERTS=ca) as beside,
    ):
        yield Target(MOORAGE, address, process, beside, repeat(beside))


@contextmanager
def _secure(logs: Path, _clients: int) -> Iterator[Target]:
    flags = tls_flags(logs)
    with with_flags(logs, *flags, ca=str(logs / "cert.pem")) as target:
        yield target


@contextmanager
def _plain(logs: Path, _clients: int) -> Iterator[Target]:
    with with_flags(logs) as target:
        yield target


@contextmanager
def _behind_nginx(logs: Path, _clients: int) -> Iterator[Target]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise BenchError("nginx is not installed")
    with with_flags(logs) as target:
        port = free_port()
        cert, key = certificate(logs)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        text = _NGINX.format(
            folder=logs,
            host=HOST,
            service=target.address.port,
            port=port,
            cert=cert,
            key=key,
            user="user root;" if os.geteuid() == 0 else "",
            temp="\n".join(f"{kind}_temp_path {logs / kind};" for kind in kinds),
        )
        (logs / "nginx.conf").write_text(text)
        nginx = Process([program, "-p", str(logs), "-c", str(logs / "nginx.conf")], log=logs / "nginx.log")
        try:
            nginx.wait_open((HOST, port))
            children = Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text().split()
            both = Together((target.service, *(Observed(int(pid), "nginx") for pid in children)))
            address = target.address._replace(port=port)
            yield Target(NATIVE, address, both, target.app, target.speakers)
        finally:
            nginx.stop()
