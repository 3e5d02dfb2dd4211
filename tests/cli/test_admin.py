"""The way to the Admin API, against a small HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from moorage.cli.admin import Access, AdminApi, admin_options

KEY = "k" * 16


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"Bearer {KEY}":
            body = {"code": "admin-wrong-key", "message": "not a key", "inner": {"code": "5101"}}
            self._answer(401, json.dumps(body))
        elif self.path == "/api/v1/stream":
            self._answer(200, ': hi\n\nevent: packet\ndata: {"a":\ndata: 1}\n\ndata: {"b": 2}\n\n')
        elif self.path == "/api/v1/moved":
            self.send_response(302)
            self.send_header("Location", "/api/v1/echo")
            self.end_headers()
        elif self.path == "/api/v1/cut":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\ndata:")
        elif self.path == "/api/v1/text":
            self._answer(200, "text")
        elif self.path == "/api/v1/broken":
            self._answer(500, "no JSON")
        elif self.path.startswith("/api/v1/echo"):
            self._answer(200, json.dumps(self.path))
        else:
            self._answer(404, '{"message": "no such path"}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(202, "" if body == "{}" else body)

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_requests(url: str) -> None:
    api = AdminApi(url, KEY)
    assert (
        api.get("/api/v1/echo", {"user": "a b", "hub": None, "limit": 3}) == "/api/v1/echo?user=a+b&limit=3"
    )
    assert api.post("/api/v1/emit", {"event": "e"}) == {"event": "e"}
    assert api.post("/api/v1/emit", {}) is None


def test_a_stream(url: str) -> None:
    found = list(AdminApi(url, KEY).stream("/api/v1/stream"))
    assert found == [("packet", {"a": 1}), ("message", {"b": 2})]


@pytest.mark.parametrize(
    ("key", "path", "text"),
    [
        ("wrong", "echo", r"401 not a key \(5101 admin-wrong-key\)"),
        (KEY, "nothing", "404 not found: the Admin API is off"),
        (KEY, "broken", "500 Internal Server Error"),
        (KEY, "text", "Expecting value"),
        (KEY, "moved", "302 redirects to /api/v1/echo: "),
    ],
)
def test_refusals(url: str, key: str, path: str, text: str) -> None:
    with pytest.raises(click.ClickException, match=text):
        AdminApi(url, key).get(f"/api/v1/{path}")


def test_a_service_that_breaks_off(url: str) -> None:
    with pytest.raises(click.ClickException, match="/cut: IncompleteRead"):
        list(AdminApi(url, KEY).stream("/api/v1/cut"))


def test_nobody_listens() -> None:
    with pytest.raises(click.ClickException, match=r"127\.0\.0\.1:1/x: .*refused"):
        AdminApi("http://127.0.0.1:1", KEY).get("/x")


@click.command()
@admin_options
def show(access: Access) -> None:
    click.echo(access.api().url)


def test_options(tmp_path: Path) -> None:
    run = CliRunner().invoke
    given = run(show, ["--url", "http://a:1/"], env={"MOORAGE_ADMIN_KEY": KEY})
    assert (given.exit_code, given.output) == (0, "http://a:1\n")
    file = tmp_path / "m.yaml"
    file.write_text("server: {host: '0.0.0.0', port: 81}\n")
    read = run(show, ["-c", str(file)], env={"MOORAGE_ADMIN_KEY": KEY})
    assert read.exit_code == 0, read.exception
    assert read.output == "http://127.0.0.1:81\n"
    file.write_text("server: {host: '::1', port: 81}\n")
    assert run(show, ["-c", str(file), "--key", KEY]).output == "http://[::1]:81\n"
    without = run(show, ["--url", "http://a:1/"])
    assert without.exit_code == 2
    assert "no key of the Admin API" in without.output
