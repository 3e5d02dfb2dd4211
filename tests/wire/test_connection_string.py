"""Connection strings: what is read, and what a wrong one is told."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.sdk.errors import UsageError
from moorage.wire.connection_string import ConnectionString, check_hub, parse

KEY = "c2VjcmV0/with=equals=="


@pytest.mark.parametrize(
    ("text", "secure", "host"),
    [
        (f"Endpoint=http://127.0.0.1:8080;AccessKey={KEY};Version=1.0;", False, "127.0.0.1:8080"),
        (f"Endpoint=https://rt.example.com;AccessKey={KEY};Version=1.0;", True, "rt.example.com"),
        (f"endpoint=HTTPS://RT.example.com/;accesskey={KEY}", True, "rt.example.com"),
        (f"Endpoint=http://localhost;Port=8080;AccessKey={KEY}", False, "localhost:8080"),
        (f"Endpoint=http://localhost:1;Port=8080;AccessKey={KEY}", False, "localhost:8080"),
        (f"Endpoint=http://[::1]:8080;AccessKey={KEY}", False, "[::1]:8080"),
        (f"Endpoint=https://example.com/moorage/;AccessKey={KEY}", True, "example.com/moorage"),
        (f' "Endpoint=ws://localhost:8080;AccessKey={KEY};Region=x;" \n', False, "localhost:8080"),
    ],
)
def test_what_is_read(text: str, secure: bool, host: str) -> None:
    assert parse(text) == ConnectionString(secure, host, KEY)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        (f"AccessKey={KEY}", "no Endpoint"),
        (f"Endpoint=;AccessKey={KEY}", "no Endpoint"),
        ("Endpoint=http://localhost:8080;Version=1.0;", "no AccessKey"),
        ("http://localhost:8080", "a part without `=`"),
        (f"Endpoint=localhost:8080;AccessKey={KEY}", "must be a URL like http://127.0.0.1:8080"),
        (f"Endpoint=ftp://localhost;AccessKey={KEY}", "must be a URL"),
        (f"Endpoint=http://localhost:x;AccessKey={KEY}", "is not a URL"),
        (f"Endpoint=http://local..host;AccessKey={KEY}", "names no host: 'local..host'"),
        (f"Endpoint=http://localhost;Port=0;AccessKey={KEY}", "Port=0"),
        (f"Endpoint=http://localhost;Port=http;AccessKey={KEY}", "Port=http"),
        (f"Endpoint=http://localhost;AccessKey={KEY};Version=2.0;", "Version=2.0"),
    ],
)
def test_what_a_wrong_one_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match="connection string") as caught:
        parse(text)
    assert told in str(caught.value)
    assert KEY not in str(caught.value), "messages end up in logs"


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(parse(f"Endpoint=http://localhost;AccessKey={KEY}"))


def test_urls() -> None:
    plain = parse(f"Endpoint=http://localhost:8080;AccessKey={KEY}")
    assert plain.endpoint == "http://localhost:8080"
    assert plain.link_url("app") == "ws://localhost:8080/server/tunnel?hub=app"
    secure = parse(f"Endpoint=https://example.com/base;AccessKey={KEY}")
    assert secure.link_url("a`b") == "wss://example.com/base/server/tunnel?hub=a%60b"


def test_the_same_key_at_another_address_of_the_service() -> None:
    target = parse(f"Endpoint=https://example.com/base;AccessKey={KEY}")
    assert not target.advertised
    other = target.at("http://10.0.0.12:8080/")
    assert other == ConnectionString(False, "10.0.0.12:8080", KEY, advertised=True)
    assert other.link_url("app", "n 1") == "ws://10.0.0.12:8080/server/tunnel?hub=app&node=n%201"
    with pytest.raises(UsageError, match="must be a URL"):
        target.at("10.0.0.12:8080")


@pytest.mark.parametrize("hub", [None, "", "1app", "my hub", "my-hub", "a/b", "a" * 129])
def test_what_is_no_hub(hub: Any) -> None:
    with pytest.raises(UsageError, match="is not a hub name"):
        check_hub(hub)


def test_what_is_a_hub() -> None:
    assert check_hub("app_1") == "app_1"
