from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.config.files import MAX_BYTES, parse_text, read_text
from moorage.config.model import ConfigError

TREE = {"server": {"port": 1}}


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".yaml", "server:\n  port: 1\n"),
        (".yml", "server: {port: 1}"),
        ("", "server: {port: 1}"),
        (".toml", "[server]\nport = 1\n"),
        (".json", '{"server": {"port": 1}}'),
        (".JSON", '{"server": {"port": 1}}'),
        ("", '{"server": {"port": 1}}'),
    ],
)
def test_three_formats(suffix: str, text: str) -> None:
    assert parse_text(text, suffix, "x") == TREE


def test_an_empty_file_sets_nothing() -> None:
    assert parse_text("# nothing\n", ".yaml", "x") == {}


@pytest.mark.parametrize(
    ("suffix", "text", "where"),
    [
        (".yaml", "a: [1\nb: 2", "line 2"),
        (".yaml", "a: 1\na: 2", "`a` is set twice, at line 2"),
        (".yaml", "limits:\n  x: 1\n  x: 2", "`x` is set twice, at line 3"),
        (".yaml", "- 1", "found list"),
        (".yaml", "a: \x01", "character"),
        (".yaml", "a: 2026-99-99", "cannot be read"),
        (".toml", "a = \nb = 1", "line 1"),
        (".json", '{"a": }', "line 1 column"),
        (".json", '{"a": 1, "a": 2}', "`a` is set twice"),
        (".json", "[" * 100_000, "deeply"),
    ],
)
def test_mistakes_are_told_with_their_place(suffix: str, text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_text(text, suffix, "moorage.conf")
    assert caught.value.problems[0].startswith("moorage.conf: ")
    assert where in caught.value.problems[0]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".yaml", "keys:\n  primary: s3cret: oops"),
        (".yaml", "keys:\n  primary: !s3cret"),
        (".yaml", "keys:\n  primary: *s3cret"),
        (".yaml", "keys: {primary: s3cret"),
        (".toml", "[keys]\nprimary = s3cret"),
        (".json", '{"keys": {"primary": s3cret}}'),
    ],
)
def test_no_message_quotes_the_line(suffix: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_text(text, suffix, "x")
    assert "s3cret" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "directory"),
        (tmp_path / "latin.yaml", "not UTF-8 (byte 1)"),
        (tmp_path / "large.yaml", "too large"),
    ):
        if path.name == "latin.yaml":
            path.write_bytes(b"a\xff")
        if path.name == "large.yaml":
            path.write_bytes(b"#" * (MAX_BYTES + 1))
        with pytest.raises(ConfigError, match=str(path)) as caught:
            read_text(path)
        assert why in caught.value.problems[0]


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "settings.yaml"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ConfigError, match="a pipe or a device"):
            read_text(path)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".yaml", "a: " + "[" * 300_000),
        (".yaml", "{" * 300_000),
        (".yaml", "- " * 300_000),
        (".yaml", "".join(" " * depth + "a:\n" for depth in range(1_000))),
        (".json", "[" * 300_000),
        (".toml", "a = " + "[" * 300_000),
    ],
)
def test_deep_nesting_is_refused_before_the_end_is_read(suffix: str, text: str) -> None:
    # The last line is a fault of another kind, which a reader of the whole text would report.
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse_text(f"{text}\n@}}", suffix, "x")


def test_many_keys_are_read() -> None:
    # Comparing each key with all others takes longer than the time limit of a test.
    many = {str(number): number for number in range(400_000)}
    assert parse_text(json.dumps(many), ".json", "x") == many


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert read_text(path) == "{}"


@given(st.sampled_from([".yaml", ".toml", ".json"]), st.text(max_size=200))
def test_any_text_is_read_or_refused(suffix: str, text: str) -> None:
    try:
        assert isinstance(parse_text(text, suffix, "x"), dict)
    except ConfigError as error:
        assert len(error.problems) == 1
