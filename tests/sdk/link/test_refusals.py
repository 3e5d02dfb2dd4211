"""What a refused link is told: cause and fix, for each kind of answer."""

from __future__ import annotations

import re

import orjson
import pytest

from moorage.sdk.errors import LinkError, LinkRefused, LinkUnavailable
from moorage.sdk.link import refusals
from moorage.wire.connection_string import parse
from moorage.wire.reasons import CATALOGUE

TARGET = parse("Endpoint=http://rt.example.com:8080;AccessKey=secret;")
AZURE = parse("Endpoint=https://x.webpubsub.azure.com;AccessKey=secret;")


def refused(
    status: int, reason: str = "", *, headers: dict[str, str] | None = None, now: float = 0
) -> LinkError:
    """A service's answer with this reason, or somebody else's page."""
    body = b"<html>"
    if reason:
        row = CATALOGUE[reason]
        body = orjson.dumps({"number": row.number, "reason": row.name, "message": row.text})
    return refusals.refusal(status, headers or {}, body, target=TARGET, hub="app", now=now)


@pytest.mark.parametrize(
    ("status", "reason", "fix"),
    [
        (401, "token-signature", "compare with its setting `keys.primary`"),
        (401, "token-audience", "set `server.public_endpoint`"),
        (401, "token-expired", "set them by NTP"),
        (401, "token-not-yet", "set them by NTP"),
        (404, "unknown-hub", "add it to the service's `hubs`"),
        (400, "link-unknown-dialect", "bring it to the SDK's version"),
    ],
)
def test_refused_for_good(status: int, reason: str, fix: str) -> None:
    error = refused(status, reason)
    assert isinstance(error, LinkRefused)
    assert (error.reason, error.number) == (reason, CATALOGUE[reason].number)
    assert CATALOGUE[reason].text in str(error)
    assert fix in str(error)
    assert "http://rt.example.com:8080 refuses the link of hub 'app'" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("status", "reason"), [(503, "draining"), (503, "link-too-many"), (409, "link-server-taken")]
)
def test_refused_for_now(status: int, reason: str) -> None:
    error = refused(status, reason)
    assert isinstance(error, LinkUnavailable)
    assert reason in str(error)


def test_how_far_the_clocks_are_apart() -> None:
    date = {"Date": "Thu, 01 Jan 1970 00:10:00 GMT"}
    assert "this machine is +300 s off" in str(refused(401, "token-expired", headers=date, now=900))
    assert " off)" not in str(refused(401, "token-expired", headers={"Date": "?"}, now=900))


@pytest.mark.parametrize("status", [400, 403, 404, 405, 200])
def test_not_moorage(status: int) -> None:
    error = refused(status, headers={"Content-Type": "text/html", "Server": "nginx"})
    assert isinstance(error, LinkRefused)
    assert error.number == 0
    assert f"HTTP {status} (text/html, nginx)" in str(error)
    assert "That is not Moorage: another web server is there" in str(error)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_proxy_without_its_moorage(status: int) -> None:
    error = refused(status)
    assert isinstance(error, LinkUnavailable)
    assert "A proxy may stand there" in str(error)


def test_a_redirect() -> None:
    error = refused(308, headers={"Location": "https://rt.example.com/server/tunnel"})
    assert isinstance(error, LinkRefused)
    assert re.search(r"redirects to 'https://rt\.example\.com.*Endpoint", str(error))


def test_azure() -> None:
    assert "Azure's own service" in str(refusals.wrong_protocol(AZURE, None))
    assert "Azure" not in str(refusals.wrong_protocol(TARGET, None))


def test_no_answer() -> None:
    assert "does not answer in time" in str(refusals.unreachable(TARGET, TimeoutError()))
    assert "Connection refused" in str(refusals.unreachable(TARGET, OSError(111, "Connection refused")))


def test_a_node_that_cannot_be_reached_is_named_by_its_own_address() -> None:
    told = str(refusals.unreachable(TARGET.at("http://10.0.0.12:8080"), ConnectionRefusedError("refused")))
    assert told.startswith("cannot reach http://10.0.0.12:8080 (refused), the address that a node has")
    assert "connection string" not in told
    assert "connection string's Endpoint" in str(refusals.unreachable(TARGET, TimeoutError()))
