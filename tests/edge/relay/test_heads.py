"""Heads of relayed requests and of their answers."""

from __future__ import annotations

import pytest

from moorage.edge.relay.heads import answer_head, request_head

CLIENT = [
    (b"host", b"example.org"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"upgrade", b"websocket"),
    (b"keep-alive", b"timeout=5"),
    (b"moorage-hop", b"forged"),
    (b"x-forwarded-for", b"192.0.2.7"),
    (b"cookie", b"a=\xe4"),
]


def test_a_request_keeps_the_client_s_headers_but_not_those_of_its_connection() -> None:
    assert request_head("GET", "/socket.io/?sid=x", CLIENT, b"signed", upgrade=False) == (
        b"GET /cluster/relay/socket.io/?sid=x HTTP/1.1\r\nhost: example.org\r\n"
        b"x-forwarded-for: 192.0.2.7\r\ncookie: a=\xe4\r\nmoorage-hop: signed\r\n\r\n"
    )
    post = request_head("POST", "/socket.io/?sid=x", CLIENT, b"signed", upgrade=False)
    assert post.endswith(b"\r\nconnection: close\r\nmoorage-hop: signed\r\n\r\n")


def test_an_upgrade_stays_one() -> None:
    head = request_head("GET", "/socket.io/?sid=x", CLIENT, b"signed", upgrade=True)
    assert b"\r\nupgrade: websocket\r\n" in head
    assert b"\r\nconnection: upgrade\r\n" in head
    assert b"forged" not in head


def test_an_answer() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nVary:  Origin \r\nconnection: close\r\n\r\n"
    assert answer_head(text) == (200, [(b"content-length", b"3"), (b"vary", b"Origin")], 3)
    assert answer_head(b"HTTP/1.1 404 Not Found\r\n\r\n") == (404, [], None)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_no_answer(text: bytes) -> None:
    with pytest.raises(ValueError):
        answer_head(text)
