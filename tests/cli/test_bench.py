"""`moorage bench`, as a user runs it, on the servers of its manual and on a server that lacks something."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from moorage.cli.bench import Duration, Pair, bench
from moorage.cli.main import app
from tests.cli.test_main import run
from tests.load.servers import Server, documented, python_server
from tests.support.pages import lines
from tests.support.programs import free_port

SHORT = ("--quiet", "--clients", "6", "--warmup", "200ms", "--duration", "600ms")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with python_server() as running:
        yield running


@pytest.fixture(
    scope="module",
    params=["server.py", pytest.param("server.mjs", marks=pytest.mark.node)],
)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the manual."""
    port = free_port()
    with documented(request.param, tmp_path_factory.mktemp("server"), port):
        yield f"http://localhost:{port}"


def measured(scenario: str, *arguments: str) -> dict[str, Any]:
    """The result of a run that passes."""
    done = run("bench", scenario, *SHORT, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def heard(*arguments: str) -> int:
    """The number of messages that the clients of a run received. If it is small, as on a busy machine, that
    of a longer run."""
    received = 0
    for more in ((), ("--duration", "5s")):
        received = measured(*arguments, *more)["figures"]["received"]
        if received > 20:
            break
    return received


def test_the_documented_servers_do_what_the_scenarios_need(url: str) -> None:
    where = ("--url", url, "--fail-if", "lost>0,errors>0,failed>0,disconnects>0")
    for transport in ("websocket", "polling"):
        assert heard("echo", *where, "--transport", transport, "--verify", "--fail-if", "wrong>0") > 20
    fanout = measured("fanout", *where, "--rate", "20", "--fail-if", "repeated>0,misordered>0")
    assert (fanout["figures"]["sent"], fanout["figures"]["received"]) == (12, 72)


@pytest.mark.node
def test_the_documented_server_of_nodejs_recovers_connections(tmp_path: Path) -> None:
    port = free_port()
    with documented("server.mjs", tmp_path, port):
        url = f"http://127.0.0.1:{port}"
        options = ("--rate", "10", "--cut-every", "2s", "--duration", "5s")
        limits = ("--fail-if", "lost>0,repeated>0,misordered>0,unrecovered>0,missing>0")
        done = run("bench", "jitter", "--url", url, *SHORT, *options, "--json", *limits)
        found = json.loads(done.stdout)
        assert done.returncode == 0, found["figures"]
        assert found["figures"]["cuts"] == found["figures"]["recovered"] > 3


def test_a_restarted_server(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with documented("server.py", tmp_path, port) as first:
        # The server that comes back ends itself, because the test knows nothing of it.
        again = tmp_path / "again.py"
        again.write_text(
            "import os, signal\nsignal.alarm(40)\n" + (tmp_path / "server.py").read_text(), encoding="utf-8"
        )
        start = f"PORT={port} {sys.executable} {again} >/dev/null 2>&1 & echo $! >{tmp_path}/pid"
        restart = f"kill -9 {first.pid}; {start}"
        options = ("--duration", "30s", "--restart", restart, "--fail-if", "missing>0,reconnects<6")
        try:
            done = run("bench", "avalanche", "--url", url, *SHORT, *options, "--json")
        finally:
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        found = json.loads(done.stdout)
        assert done.returncode == 0, found
        assert found["figures"]["reconnects"] == 6
        assert 400 < found["latency"]["max"] < 30_000


def test_the_table_and_the_page(server: Server, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    options = ("--namespace", "admin", "--auth", '{"user": "u{n}"}', "--processes", "2", "--html", str(page))
    server.behaviour.auths.clear()
    pid = str(os.getpid())
    done = run("bench", "echo", "--url", server.url, *SHORT, *options, "--server-pid", pid)
    assert (done.returncode, done.stderr) == (0, "")
    assert "namespace /admin" in done.stdout
    assert "round trip, ms" in done.stdout
    assert "CPU of the server" in done.stdout
    assert "<svg" in page.read_text()
    assert {json.dumps(auth) for auth in server.behaviour.auths} == {f'{{"user": "u{n}"}}' for n in range(6)}


def test_a_condition_that_holds(server: Server) -> None:
    done = run("bench", "echo", "--url", server.url, *SHORT, "--fail-if", "p50>1us")
    assert done.returncode == 3
    assert "FAILED  --fail-if p50>1us" in done.stdout


def test_ctrl_c_ends_the_load_and_shows_the_figures(server: Server) -> None:
    argv = [sys.executable, "-m", "moorage", "bench", "echo", "--url", server.url, "--clients", "2"]
    argv += ["--duration", "100s", "--warmup", "0s"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stdout is not None
        # The first line of progress: the load runs.
        assert process.stderr.readline().startswith("echo  [")
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.wait(20) == 130
    assert ", interrupted" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--url", "http://localhost:1"), "could connect to http://localhost:1: connection refused"),
        (("--url", "http://no-such-host.invalid"), "not known"),
    ],
)
def test_no_server(options: tuple[str, ...], said: str) -> None:
    done = run("bench", "echo", *options, *SHORT)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Missing option '--url'"),
        (("--url", "ftp://x"), "expected a URL"),
        (("--url", "http://x:y"), "expected a URL"),
        (("--url", "http://user:secret@x"), "expected a URL"),
        (("--url", "http://"), "expected a URL"),
        (("--url", "x/admin"), "--path /admin, or --namespace /admin"),
        (("--url", "x", "--auth", "{"), "--auth is not JSON"),
        (("--url", "x", "--auth", "[]"), "--auth must be a JSON object"),
        (("--url", "x", "--fail-if", "p99"), "--fail-if: "),
        (("--url", "x", "--processes", "200"), "--clients must be at least --processes"),
        (("--url", "x", "--duration", "ten"), "is not a duration"),
        (("--url", "x", "--header", "X"), "expected NAME:VALUE"),
        (("--url", "x", "--query", "=1"), "expected NAME=VALUE"),
        (("--url", "x", "--clients", "0"), "0 is not in the range"),
    ],
)
def test_wrong_usage(options: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["bench", "echo", *options])
    assert done.exit_code == 2
    assert said in done.output


def test_more_senders_than_clients() -> None:
    done = CliRunner().invoke(app, ["bench", "fanout", "--url", "x", "--clients", "1", "--senders", "2"])
    assert (done.exit_code, "--senders must not exceed --clients" in done.output) == (2, True)


def test_durations_and_pairs() -> None:
    assert [Duration()(text) for text in ("500ms", "2s", "1.5m", "1h", "3")] == [0.5, 2, 90, 3600, 3]
    assert Pair("=")("a=b=c") == ("a", "b=c")
    assert Pair(":")(" X-One : 1 ") == ("X-One", "1")
    assert Pair(":")(("a", "b")) == ("a", "b")


def test_the_commands_of_the_manual_are_valid() -> None:
    """Each is parsed; its server is not there."""
    found = lines("docs/howto/load-test.md", "moorage bench") + lines(
        "docs/howto/size-a-node.md", "moorage bench"
    )
    assert len(found) >= 14
    for line in found:
        scenario = line.split("moorage bench ")[1].split()[0]
        names = {word.partition("=")[0] for word in line.split() if word.startswith("--")}
        known = {name for option in bench.params for name in option.opts}
        # Those of `moorage token create` in a command substitution.
        assert names - known <= {"--hub"}, line
        assert isinstance(bench.params[0].type, click.Choice)
        assert scenario in bench.params[0].type.choices
