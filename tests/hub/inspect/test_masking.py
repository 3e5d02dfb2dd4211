"""Secrets are masked, everything else is shown."""

from __future__ import annotations

import pytest

from moorage.hub.inspect.masking import MASK, masked_headers, masked_query


@pytest.mark.parametrize(
    "name",
    ["authorization", "cookie", "Cookie", "x-api-key", "x-auth-token", "proxy-authorization", "x-csrf-token"],
)
def test_secret_headers(name: str) -> None:
    assert masked_headers({name: ["a", "b"]}) == {name: [MASK, MASK]}


@pytest.mark.parametrize("name", ["user-agent", "sec-websocket-key", "host", "accept", "x-forwarded-for"])
def test_other_headers(name: str) -> None:
    assert masked_headers({name: ["a"]}) == {name: ["a"]}


@pytest.mark.parametrize("name", ["access_token", "token", "key", "apiKey", "password", "jwt", "sessionId"])
def test_secret_parameters(name: str) -> None:
    assert masked_query({name: ["a"]}) == {name: [MASK]}


@pytest.mark.parametrize("name", ["EIO", "transport", "t", "room", "keyboard"])
def test_other_parameters(name: str) -> None:
    assert masked_query({name: ["a"]}) == {name: ["a"]}
