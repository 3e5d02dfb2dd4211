"""`moorage token check` beside what a real service says about the same token."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from click.testing import CliRunner

from moorage.cli.doctor.token import findings
from moorage.cli.main import app
from moorage.config.model import Config, KeySettings
from tests.cli.test_main import run
from tests.support.service import MoorageProcess

KEY = "k" * 32
AUDIENCE = "http://example.org/clients/socketio/hubs/chat"
NOW = 1_700_000_000.0


def config(**more: Any) -> Config:
    return Config(keys=KeySettings(primary=KEY, secondary="s" * 32), **more)


def token(
    key: str = KEY, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    given = {"aud": AUDIENCE, "iat": int(NOW), "exp": int(NOW) + 3600, **claims}
    kept = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=headers)


def states(text: str, **more: Any) -> dict[str, str]:
    given = {"config": config(), "now": NOW, **more}
    return {found.name: found.state for found in findings(text, **given)}


def test_a_good_token() -> None:
    found = list(findings(token(sub="ada", role=["a"]), config(), now=NOW, hub="CHAT"))
    assert {one.state for one in found} == {"ok"}
    assert found[-1] == ("service", "ok", "would accept it for clients of hub chat", "")
    assert any("ada" in one.text for one in found)
    by_secondary = {one.name: one.text for one in findings(token("s" * 32), config(), now=NOW)}
    assert by_secondary["signature"] == "made with keys.secondary"


@pytest.mark.parametrize(
    ("claims", "name", "text"),
    [
        ({"key": "x" * 32}, "signature", "another key"),
        ({"key": "x" * 64, "algorithm": "HS512"}, "algorithm", "HS512"),
        ({"headers": {"crit": ["x"]}}, "algorithm", "crit"),
        ({"exp": None}, "exp", "no time of expiry"),
        ({"exp": "soon"}, "exp", "no time of expiry"),
        ({"exp": int(NOW) - 31}, "exp", "expired 31s ago"),
        ({"iat": int(NOW) + 120}, "iat", "2m in the future"),
        ({"iat": "now"}, "iat", "not a number"),
        ({"nbf": int(NOW) * 1000}, "nbf", "in the future"),
        ({"aud": None}, "audience", "no URL"),
        ({"aud": "chat"}, "audience", "no URL"),
        ({"aud": "http://other.org/clients/socketio/hubs/chat"}, "audience", "other.org"),
        ({"aud": "http://example.org/clients/socketio/hubs/other"}, "hub", "for hub other, not chat"),
    ],
)
def test_each_fault_is_named_and_the_service_refuses(claims: dict[str, Any], name: str, text: str) -> None:
    found = {
        one.name: one
        for one in findings(token(**claims), config(), now=NOW, hub="chat", base="https://example.org")
    }
    assert found[name].state == "fail"
    assert text in found[name].text
    assert found[name].fix
    assert {one.name for one in found.values() if one.state == "fail"} <= {name, "service", "hub"}
    if name != "hub":
        assert found["service"].state == "fail"


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "é.b.c", "x" * 9000, "W10.e30.x", "e30.W10.x"])
def test_what_is_no_token(text: str) -> None:
    (found,) = findings(text, config(), now=NOW)
    assert (found.name, found.state) == ("form", "fail")


def test_other_audiences_hubs_and_no_key() -> None:
    assert states(token(aud="http://example.org/server/tunnel?hub=chat"))["audience"] == "ok"
    assert states(token(aud="http://example.org/api/hubs/chat?x=1"))["service"] == "ok"
    assert states(token(aud=["x", AUDIENCE]))["audience"] == "ok"
    assert states(token(), config=config(allow_unlisted_hubs=False))["hub"] == "fail"
    assert states(token(exp=int(NOW) * 1000))["exp"] == "warn"
    without = states(token(), config=Config())
    assert (without["signature"], without["service"]) == ("skip", "skip")


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    with MoorageProcess(key=KEY) as running:
        yield running


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        ({}, 0),
        ({"key": "x" * 32}, 3003),
        ({"exp": 1}, 3004),
        ({"aud": "http://x/clients/socketio/hubs/app"}, 3006),
    ],
)
def test_the_service_says_the_same(service: MoorageProcess, fault: dict[str, Any], number: int) -> None:
    audience = f"{service.url}/clients/socketio/hubs/app"
    text = token(**{"aud": audience, "iat": int(time.time()), "exp": int(time.time()) + 60, **fault})
    done = run("token", "check", text, "--access-key", KEY, "--endpoint", service.url, "--json")
    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    status, body = service.get(f"/clients/socketio/hubs/app/?EIO=4&transport=polling&access_token={text}")
    if number:
        assert done.returncode == 3
        assert f"({number} " in checks["service"]["text"]
        assert (status, json.loads(body)["number"]) == (401, number)
    else:
        assert done.returncode == 0
        # The token is good; only an app server is missing.
        assert json.loads(body)["reason"] == "no-app-server"


STRING = f"Endpoint=https://live.example.org:8443;AccessKey={KEY};Version=1.0;"


@pytest.mark.parametrize(
    ("given", "env", "audience"),
    [
        (("--connection-string", STRING), {}, "https://live.example.org:8443/clients/socketio/hubs/chat"),
        (
            (),
            {"MOORAGE_CONNECTION_STRING": STRING},
            "https://live.example.org:8443/clients/socketio/hubs/chat",
        ),
        (
            ("--endpoint", "http://other"),
            {"MOORAGE_CONNECTION_STRING": STRING},
            "http://other/clients/socketio/hubs/chat",
        ),
        (
            ("--access-key", "k" * 32, "--endpoint", "http://x"),
            {"MOORAGE_CONNECTION_STRING": "nonsense"},
            "http://x/clients/socketio/hubs/chat",
        ),
    ],
)
def test_a_token_by_a_connection_string(given: tuple[str, ...], env: dict[str, str], audience: str) -> None:
    done = CliRunner().invoke(app, ["token", "create", "--hub", "chat", *given], env=env)
    assert done.exit_code == 0, done.output
    assert jwt.decode(done.stdout.strip(), options={"verify_signature": False})["aud"] == audience


@pytest.mark.parametrize(
    ("given", "env", "why"),
    [
        (("--connection-string", "AccessKey=k"), {}, "has no Endpoint"),
        ((), {"MOORAGE_CONNECTION_STRING": "Endpoint=http://x"}, "has no AccessKey"),
        (("--connection-string", STRING, "--access-key", KEY), {}, "omit --access-key"),
        ((), {}, "--connection-string, -c, MOORAGE_KEYS_PRIMARY or MOORAGE_CONNECTION_STRING"),
    ],
)
def test_no_token_without_one_key(given: tuple[str, ...], env: dict[str, str], why: str) -> None:
    done = CliRunner().invoke(app, ["token", "create", "--hub", "chat", *given], env=env)
    assert done.exit_code == 2
    assert why in " ".join(done.output.split())
    assert KEY not in done.output


def test_a_connection_string_has_the_key() -> None:
    audience = "https://live.example.org:8443/clients/socketio/hubs/chat"
    text = token(aud=audience, exp=int(time.time()) + 3600, iat=int(time.time()))
    done = CliRunner().invoke(app, ["token", "check", text, "--connection-string", STRING])
    assert done.exit_code == 0, done.output
    other = STRING.replace(KEY, "o" * 32)
    done = CliRunner().invoke(app, ["token", "check", text, "--connection-string", other])
    assert done.exit_code == 3
    assert "another key" in done.output
    done = CliRunner().invoke(app, ["token", "check", text, "--connection-string", STRING, "-c", "x.yaml"])
    assert done.exit_code == 2
    assert "omit --access-key and -c" in " ".join(done.output.split())


def test_a_token_from_standard_input() -> None:
    made = run("token", "create", "--hub", "chat", "--access-key", KEY, "--endpoint", "http://x").stdout
    done = CliRunner().invoke(app, ["token", "check", "-", "--access-key", KEY], input=made)
    assert done.exit_code == 0, done.output
    assert "would accept it" in done.output
