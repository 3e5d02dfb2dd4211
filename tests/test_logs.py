from __future__ import annotations

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage import logs
from moorage.wire import reasons
from tests.support.examples import WITH_FIXTURES, times

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
Setup = Callable[..., io.StringIO]


@pytest.fixture
def setup() -> Iterator[Setup]:
    """Set up logs into a buffer; afterwards the process's logging is as it was."""
    root, ours = logging.getLogger(), logging.getLogger(logs.ROOT)
    before = root.handlers[:], root.level, ours.level

    def start(level: str = "info", format: str = "json") -> io.StringIO:
        out = io.StringIO()
        logs.setup(level=level, format=format, stream=out)
        return out

    yield start
    root.handlers[:], root.level, ours.level = before
    ours.setLevel(before[2])
    root.setLevel(before[1])
    logging.captureWarnings(False)


def objects(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_of_json(setup: Setup) -> None:
    out = setup()
    logs.get("edge").bind(hub="chat").info("opened", n=1, odd={1})
    (line,) = objects(out)
    assert list(line) == ["ts", "level", "component", "event", "hub", "n", "odd"]
    assert line["ts"].endswith("Z") and len(line["ts"]) == 24
    assert (line["level"], line["component"], line["event"]) == ("info", "edge", "opened")
    assert (line["hub"], line["n"], line["odd"]) == ("chat", 1, "{1}")


def test_a_logger_may_be_taken_before_the_setup(setup: Setup) -> None:
    log = logs.get("early")
    out = setup()
    log.warning("x")
    assert [line["component"] for line in objects(out)] == ["early"]


def test_levels(setup: Setup) -> None:
    log = logs.get("hub")
    for level, written in (("debug", 4), ("info", 3), ("warning", 2), ("error", 1)):
        out = setup(level)
        log.debug("a")
        log.info("b")
        log.warning("c")
        log.error("d")
        assert len(objects(out)) == written
        assert log.enabled(logging.INFO) is (written >= 3)


def test_libraries_pass_the_same_way_a_step_quieter(setup: Setup) -> None:
    library = logging.getLogger("library.part")
    out = setup("info")
    library.info("quiet")
    library.warning("GET /x?access_token=%s", "abc")
    (line,) = objects(out)
    assert (line["component"], line["level"]) == ("library.part", "warning")
    assert line["event"] == "GET /x?access_token=[redacted]"
    out = setup("debug")
    library.debug("quiet")
    library.info("spoken")
    assert [line["event"] for line in objects(out)] == ["spoken"]


def test_warnings_of_python_become_lines(setup: Setup) -> None:
    out = setup()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
    assert [line["component"] for line in objects(out)] == ["py.warnings"]


def test_a_second_setup_replaces_the_first(setup: Setup) -> None:
    first, second = setup(), setup()
    logs.get("x").info("once")
    assert (first.getvalue(), len(objects(second))) == ("", 1)


def test_tracebacks_of_ours_and_of_libraries(setup: Setup) -> None:
    out = setup()
    for ours in (True, False):
        try:
            raise ValueError(f"access_token={JWT}")
        except ValueError:
            if ours:
                logs.get("x").error("failed", exc_info=True)
            else:
                logging.getLogger("y").exception("failed")
    assert len(objects(out)) == 2
    for line in objects(out):
        assert "Traceback" in line["exception"]
        assert line["exception"].endswith("ValueError: access_token=[redacted]")


SECRETS = [
    ("/clients?id=1&access_token=abc.def&x=1", "/clients?id=1&access_token=[redacted]&x=1"),
    ("access_token%3Dabc", "access_token%3D[redacted]"),
    (
        "Endpoint=http://a;AccessKey=ab+/c=;Version=1.0;",
        "Endpoint=http://a;AccessKey=[redacted];Version=1.0;",
    ),
    ("accesskey=k&x", "accesskey=[redacted]"),
    ("Authorization: Bearer abc", "Authorization: Bearer [redacted]"),
    ("authorization: Basic dTpw", "authorization: Basic [redacted]"),
    ("{'authorization': 'Bearer abc'}", "{'authorization': 'Bearer [redacted]'}"),
    ("(b'Authorization', b'Bearer abc')", "(b'Authorization', b'Bearer [redacted]')"),
    ("Authorization: abc", "Authorization: [redacted]"),
    ("sent bearer abc", "sent bearer [redacted]"),
    (f"claims of {JWT}!", "claims of [redacted]!"),
    ("nothing secret here", "nothing secret here"),
]


@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_redaction(text: str, shown: str) -> None:
    assert logs.redact(text) == shown


@pytest.mark.parametrize("format", ["json", "human"])
@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_redaction_in_any_place_of_a_line(setup: Setup, format: str, text: str, shown: str) -> None:
    out = setup(format=format)
    log = logs.get("x")
    log.info(text)
    log.info("field", value=text)
    log.info("deep", value={"headers": [text, {"k": text}]})
    log.info("name", authorization=f"Bearer {JWT}")
    for secret in ("abc", "ab+/c=", "dTpw", JWT, "eyJ"):
        if secret in text and secret not in shown:
            assert secret not in out.getvalue()
    assert "eyJ" not in out.getvalue()
    if format == "json":
        assert objects(out)[0]["event"] == shown


TRICKY = st.text() | st.lists(
    st.sampled_from(
        ["Authorization", "access_token", "AccessKey", "Bearer", ": ", "=", "eyJa.eyJb", *"\\\"',;& \n\x1fab"]
    )
).map("".join)


@given(text=TRICKY, tail=TRICKY)
@settings(suppress_health_check=WITH_FIXTURES, max_examples=times(5))
def test_any_text_makes_one_line_of_valid_json(setup: Setup, text: str, tail: str) -> None:
    out = setup()
    logs.get("x").info(f"{text}access_token={tail}", value=f"AccessKey={tail}", more=f"Authorization: {text}")
    assert out.getvalue().count("\n") == 1
    assert len(objects(out)) == 1


@given(text=TRICKY)
@settings(suppress_health_check=WITH_FIXTURES, max_examples=times(2))
def test_no_text_of_a_client_can_forge_a_line_or_drive_a_terminal(setup: Setup, text: str) -> None:
    out = setup(format="human")
    logs.get("x").info(text, user=text, also=[text])
    logging.getLogger("library").error("%s", text)
    body = out.getvalue()
    assert body.count("\n") == 2 and len(body.splitlines()) == 2
    assert all(char >= " " or char in "\n\t" for char in body)


def test_a_line_for_people(setup: Setup) -> None:
    out = setup(format="human")
    logs.get("hub").info("opened", hub="chat", user=None, text="two words", n=1.5)
    clock, rest = out.getvalue()[:12], out.getvalue()[13:]
    assert clock[2] == clock[5] == ":" and clock[8] == "."
    assert rest == 'info    hub      opened  hub=chat text="two words" n=1.5\n'


def test_colours_only_on_a_terminal(setup: Setup) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    setup()
    out = Terminal()
    logs.setup(level="info", format="human", stream=out)
    logs.get("x").warning("careful")
    logs.get("x").info("plain")
    first, second = out.getvalue().splitlines()
    assert first.startswith("\x1b[33m") and first.endswith("\x1b[0m")
    assert "\x1b" not in second


def end(reason: reasons.Reason) -> None:
    logs.disconnect_line(
        connection="c1",
        hub="chat",
        user="u",
        who="service",
        reason=reason,
        age_s=1.23456,
        queued_bytes=7,
        transport="websocket",
        sockets=2,
    )


def test_the_line_of_a_disconnect(setup: Setup) -> None:
    out = setup()
    end(reasons.SLOW_CLIENT)
    (line,) = objects(out)
    del line["ts"]
    assert line == {
        "level": "info",
        "component": "hub",
        "event": "disconnect",
        "connection": "c1",
        "hub": "chat",
        "user": "u",
        "who": "service",
        "reason": "slow-client",
        "number": 2000,
        "age_s": 1.235,
        "queued_bytes": 7,
        "transport": "websocket",
        "sockets": 2,
    }


def test_only_our_own_fault_is_an_error(setup: Setup) -> None:
    out = setup("error")
    end(reasons.TRANSPORT_LOST)
    end(reasons.INTERNAL)
    assert [line["reason"] for line in objects(out)] == ["internal"]


@pytest.mark.repair(5)
def test_libraries_write_a_bounded_number_of_lines(setup: Setup) -> None:
    out = setup()
    for _ in range(500):
        logging.getLogger("library.part").error("a peer did it")
        logs.get("x").info("ours")
    found = [line["component"] for line in objects(out)]
    assert found.count("x") == 500
    assert 20 <= found.count("library.part") < 40


@pytest.mark.repair(5)
def test_the_next_line_says_how_many_were_dropped(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup()
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        logs.setup(level="info", format="json")
        log = logs.get("x")
        before = logs.dropped()
        while logs.dropped() < before + 3:
            log.info("x" * 100_000)
        dropped = logs.dropped() - before
        lines = (json.loads(line) for line in reader)
        while True:
            assert next(lines)["event"] == "x" * 100_000
            dropped = logs.dropped() - before
            log.info("later")
            if logs.dropped() - before == dropped:
                break
        notice = next(line for line in lines if line["event"] == "log lines dropped")
        assert (notice["level"], notice["count"]) == ("warning", dropped)
        assert next(lines)["event"] == "later"
        logs.close()
