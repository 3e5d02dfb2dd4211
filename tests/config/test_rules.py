from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.config.rules import Kind, Rule, expected, parse, show
from moorage.wire.azure.dataplane import HUB_NAME

SECONDS = Rule("seconds", 0, 86400)
SIZE = Rule("size", 0, 1024**3)
COUNT = Rule("count", 0, 65535)

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30s", 30),
        ("500ms", 0.5),
        ("1h", 3600),
        ("1h30m", 5400),
        ("0.5s", 0.5),
        ("1d", 86400),
        ("7", 7),
        (2.5, 2.5),
    ],
)
def test_durations(text: object, value: float) -> None:
    assert parse(SECONDS, text) == value


@pytest.mark.parametrize(
    "text", ["", "s", "5 parsecs", "-1s", -1, "2d", "nan", float("nan"), True, None, [], "1s1"]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError):
        parse(SECONDS, text)


def test_a_number_of_workers_or_auto() -> None:
    rule = Rule("workers", 0, 256)
    assert [parse(rule, value) for value in ("auto", "1", 256)] == [0, 1, 256]
    assert [show(rule, value) for value in (0, 2)] == ["auto", "2"]
    assert expected(rule) == "auto, or a number of processes, 1 to 256"
    for value in ("0", 0, 257, "many", "", True, 1.5):
        with pytest.raises(ValueError):
            parse(rule, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1MiB", 1024**2),
        ("64KiB", 65536),
        ("64 kib", 65536),
        ("1MB", 10**6),
        ("1.5KB", 1500),
        ("9", 9),
        (9, 9),
        ("8B", 8),
    ],
)
def test_sizes(text: object, value: int) -> None:
    assert parse(SIZE, text) == value


@pytest.mark.parametrize(
    "text", ["1.5", 1.5, "1.0001KB", "2GiB", "-1", "1 meg", "9" * 400, float("inf"), 10**400]
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError):
        parse(SIZE, text)


@pytest.mark.parametrize("text", [True, "yes", 70000, "1KiB", 1.5, ""])
def test_what_is_no_count(text: object) -> None:
    with pytest.raises(ValueError):
        parse(COUNT, text)


@pytest.mark.parametrize(("text", "value"), [(True, True), ("yes", True), ("Off", False), ("0", False)])
def test_flags(text: object, value: bool) -> None:
    assert parse(Rule("flag"), text) is value


@pytest.mark.parametrize("text", [1, "maybe", None])
def test_what_is_no_flag(text: object) -> None:
    with pytest.raises(ValueError):
        parse(Rule("flag"), text)


def test_a_choice_is_one_of_those_named() -> None:
    rule = Rule("choice", choices=("json", "human"))
    assert parse(rule, "json") == "json"
    with pytest.raises(ValueError):
        parse(rule, "xml")
    assert expected(rule) == "one of json, human"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("https://live.example.org", "https://live.example.org"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_endpoints(text: str, value: str) -> None:
    assert parse(Rule("endpoint"), text) == value


@pytest.mark.parametrize(
    "text",
    [
        "live.example.org",
        "ws://a",
        "http://",
        "http://a/b",
        "http://a?b",
        "http://a#",
        "http://u@a",
        "http://a:x",
        "http://[a",
    ],
)
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError):
        parse(Rule("endpoint"), text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("*", ("*",)),
        ("https://a.example https://b.example:8443", ("https://a.example", "https://b.example:8443")),
        ('["https://a.example/"]', ("https://a.example",)),
        (["http://a"], ("http://a",)),
        ([], ()),
    ],
)
def test_lists_are_native_json_or_words(text: object, value: object) -> None:
    assert parse(Rule("origins"), text) == value


@pytest.mark.repair(27)
def test_networks() -> None:
    networks = Rule("networks")
    assert parse(networks, "127.0.0.1 10.0.0.0/8 ::1") == ("127.0.0.1/32", "10.0.0.0/8", "::1/128")
    assert parse(networks, ["2001:DB8::/32"]) == ("2001:db8::/32",)
    assert parse(networks, []) == ()
    for wrong in ("10.0.0.1/8", "localhost", "10.0.0.0/33", [1], "10.0.0.0-10.0.0.9"):
        with pytest.raises(ValueError):
            parse(networks, wrong)


@pytest.mark.parametrize("text", ["example.org", "[1]", "[", '{"a": 1}', 5, [None]])
def test_what_are_no_origins(text: object) -> None:
    with pytest.raises(ValueError):
        parse(Rule("origins"), text)


@pytest.mark.parametrize(
    ("name", "good"),
    [("a", True), ("Chat_1.x,[y]`", True), ("1a", False), ("a" * 129, False), ("a\n", False)],
)
def test_hub_names(name: str, good: bool) -> None:
    assert bool(HUB_NAME.fullmatch(name)) is good


def test_prefixes_of_session_ids() -> None:
    assert [parse(Rule("prefix"), text) for text in ("n1", " Zz ", "")] == ["n1", "Zz", ""]
    for wrong in ("n", "n12", "n-", "é1", 12):
        with pytest.raises(ValueError):
            parse(Rule("prefix"), wrong)


@pytest.mark.parametrize(
    ("rule", "value", "text"),
    [
        (SECONDS, 0.5, "500ms"),
        (SECONDS, 0.0, "0s"),
        (SECONDS, 90.0, "90s"),
        (SECONDS, 7200.0, "2h"),
        (SECONDS, 1.5, "1.5s"),
        (SIZE, 0, "0"),
        (SIZE, 1_000_000, "1000000"),
        (SIZE, 1536, "1536"),
        (SIZE, 65536, "64KiB"),
    ],
)
def test_the_shortest_form(rule: Rule, value: object, text: str) -> None:
    assert show(rule, value) == text


def test_what_is_expected_names_unit_and_range() -> None:
    assert expected(Rule("size", 1024, 1024**3)) == "a size (bytes, or such as 64KiB or 1MiB), 1KiB to 1GiB"
    assert expected(Rule("count", 1)) == "a whole number, 1 or more"
    assert expected(Rule("seconds", 0.1, 60)).endswith("100ms to 1m")


@given(st.integers(0, 1024**3))
def test_a_shown_size_reads_back(value: int) -> None:
    assert parse(SIZE, show(SIZE, value)) == value


@given(st.integers(0, 86_400_000))
def test_a_shown_duration_reads_back(millis: int) -> None:
    assert parse(SECONDS, show(SECONDS, millis / 1000)) == pytest.approx(millis / 1000)


@given(JUNK)
def test_any_value_parses_or_is_a_value_error(value: object) -> None:
    for kind in get_args(Kind):
        try:
            parse(Rule(kind), value)
        except ValueError:
            continue
