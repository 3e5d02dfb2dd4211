"""Frames that need no parser: a recognised frame equals the result of the parsers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.wire.azure import tunnel_frames
from moorage.wire.azure.dataplane import decode_url
from moorage.wire.azure.known import LEAST, MAX_ANSWER, MAX_ANSWERS, MAX_BODY, KnownFrames
from moorage.wire.azure.operations import GenerateToken
from moorage.wire.azure.tunnel_frames import Request, Response
from moorage.wire.commands import Command, JoinGroups, LeaveGroups, Selection, SendToConnection
from moorage.wire.errors import PeerError
from tests.support.examples import times

HUB = "chat"
LIMIT = 1_000_000
CLIENT = "51pkWh3JPDoqGBTx9JqN2MoT0A"
URL = "https://host/api/hubs/{hub}/connections/{client}/:send?api-version=2023-07-01"


def frame(kind: int, text: bytes, content: bytes | None) -> bytes:
    """A frame as the SDK's encoder writes it, with the shortest form of every length."""
    size = len(text)
    if size < 256:
        head = b"\xd9" + bytes([size])
    elif size < 0x10000:
        head = b"\xda" + size.to_bytes(2, "big")
    else:
        head = b"\xdb" + size.to_bytes(4, "big")
    if content is None:
        tail = b"\xc0"
    elif len(content) < 256:
        tail = b"\xc4" + bytes([len(content)]) + content
    elif len(content) < 0x10000:
        tail = b"\xc5" + len(content).to_bytes(2, "big") + content
    else:
        tail = b"\xc6" + len(content).to_bytes(4, "big") + content
    body = bytes([0x93, kind]) + head + text + tail
    return len(body).to_bytes(4, "little") + body


def send(ack_id: object, content: bytes = b'430["x"]', *, url: str = "", kind: str = "text/plain") -> bytes:
    """A call as the SDK writes it."""
    url = url or URL.format(hub=HUB, client=CLIENT)
    text = (
        f'{{"AckId":{ack_id},"LocalRouting":true,"ChannelName":"","HttpMethod":"POST","Url":"{url}",'
        f'"Headers":{{"Content-Type":["{kind}"]}},"Type":1}}'
    )
    return frame(1, text.encode(), content)


def answer(
    ack_id: object,
    *,
    status: int = 200,
    content: bytes | None = b"",
    more: str = "false",
    headers: str = "",
) -> bytes:
    """An answer to an event."""
    text = (
        f'{{"AckId":{ack_id},"LocalRouting":false,"StatusCode":{status},"ChannelName":"",'
        f'"NotCompleted":{more},"Headers":{{{headers}}},"Type":2}}'
    )
    return frame(2, text.encode(), content)


def learn(*examples: bytes, hub: str = HUB) -> KnownFrames:
    """Known frames after learning from these frames, like the link does."""
    frames = KnownFrames(hub, LIMIT)
    for data in examples:
        found, content = tunnel_frames.decode(data)
        if isinstance(found, Request):
            frames.learn_call(data, found, content)
        elif isinstance(found, Response):
            frames.learn_answer(data, found, content)
    return frames


Meaning = tuple[int, str, Command | GenerateToken, int, int | None]
"""AckId, client, command, and the two statuses."""


def known(frames: KnownFrames, data: bytes) -> Meaning | None:
    """A recognised call about one client."""
    call = frames.call(data)
    if call is None:
        return None
    return call.ack_id, call.connection, call.command, call.like.success, call.like.missing


def parsed(data: bytes) -> Meaning | None:
    """The same call from the parsers."""
    try:
        found, content = tunnel_frames.decode(data)
        if isinstance(found, Request):
            operation = decode_url(found.http_method, found.url, found.content_type(), content, repair=True)
            command, client = operation.command, ""
            if isinstance(command, SendToConnection):
                client = command.connection
            elif isinstance(command, JoinGroups | LeaveGroups) and command.to.filter is not None:
                # A filter for one id selects the same as the id.
                client = command.to.filter.connection_id or ""
                to = Selection(connection=client)
                command = type(command)(command.hub, to, command.groups or ())
            if command.hub == HUB and client:
                return found.ack_id, client, command, operation.success, operation.missing
    except PeerError:
        pass
    return None


@pytest.mark.parametrize("size", [1, 255, 256, 0xFFFF])
@pytest.mark.parametrize("ack_id", [1, 12, 123456, 10**15 - 1])
def test_a_send_like_another_is_known(ack_id: int, size: int) -> None:
    content = b"4" * size
    other = URL.format(hub=HUB, client="another_one-0")
    data = send(ack_id, content, url=other)
    command = SendToConnection(HUB, "another_one-0", content)
    assert known(learn(send(7)), data) == (ack_id, "another_one-0", command, 202, 404) == parsed(data)


@pytest.mark.parametrize("client", ["y", CLIENT, "y" * 64])
@pytest.mark.parametrize("first", ["z", CLIENT, "z" * 64])
def test_a_long_hub_name_changes_nothing(first: str, client: str) -> None:
    """The text of a call then has 256 bytes or more, for all clients or for those with a long id."""
    hub = "h" * 34
    frames = learn(send(7, url=URL.format(hub=hub, client=first)), hub=hub)
    data = send(123456, url=URL.format(hub=hub, client=client))
    command = SendToConnection(hub, client, b'430["x"]')
    assert known(frames, data) == (123456, client, command, 202, 404)


def test_what_was_decoded_is_counted() -> None:
    frames = learn(send(7), answer(7), move(7, body("a")))
    assert frames.decoded == 3
    assert frames.call(send(8)) is not None
    assert frames.call(move(8, body("b"))) is not None
    assert frames.answer(answer(8)) is not None
    assert frames.decoded == 3


@pytest.mark.parametrize("first", [1, 1_000])
def test_calls_of_many_lengths_are_known(first: int) -> None:
    """What is kept for each length is bounded."""
    frames = learn(send(7))
    for size in range(first, first + 600):
        content = b"4" * size
        found = frames.call(send(8, content))
        assert found is not None
        assert found.payload == content
        assert frames.call(send(9, content)[:-1]) is None
        assert frames.call(send(9, content) + b"4") is None


def test_no_call_is_known_at_first() -> None:
    frames = KnownFrames(HUB, LIMIT)
    assert frames.call(send(1)) is None
    assert frames.answer(answer(1)) is None


@pytest.mark.parametrize(
    "data",
    [
        send(1, b""),
        send(1, b"4" * 0x10000),
        send(10**15),
        send("01"),
        send("+1"),
        send("1_0"),
        send(" 1"),
        send("null"),
        send(1, url=URL.format(hub=HUB, client=CLIENT) + "&filter=x"),
        send(1, url=URL.format(hub="other", client=CLIENT)),
        send(1, url=URL.format(hub=HUB, client=CLIENT).replace("connections", "groups")),
        send(1, kind="application/json"),
        answer(1),
        frame(1, b'{"LocalRouting":true,"AckId":1}' + b" " * LEAST, b'430["x"]'),
        b"\0" * LEAST,
        b"\0" * 300,
    ],
)
def test_other_calls_are_not_known(data: bytes) -> None:
    assert learn(send(7)).call(data) is None


@pytest.mark.parametrize(
    "data",
    [
        send(7, url=URL.format(hub="other", client=CLIENT)),
        send(7, url="https://host/api/hubs/chat/:send?api-version=1"),
        send(7, url="https://host/api/hubs/chat/connections/x/:send?api-version=1&filter=%20"),
        send(7, url="https://host/api/hubs/chat/connections/x%41/:send?api-version=1"),
        send(7, url="https://host/api/hubs/chat/connections/x?api-version=1").replace(b"POST", b"HEAD"),
        # The id occurs twice in the frame, which is ambiguous.
        send(7, url=URL.format(hub=HUB, client="host")),
        send(7, url="https://host/api/hubs/chat/connections/x/y?api-version=1"),
        # The length of this text takes four bytes.
        send(7, url=URL.format(hub=HUB, client="x" * 0x10000)),
    ],
)
def test_other_calls_are_not_learned(data: bytes) -> None:
    frames = learn(data)
    assert frames.call(data) is None
    assert frames.call(send(7)) is None


@pytest.mark.parametrize("again", ['"AckId":7', '"AckId" : 7', '"Ack\\u0049d":7'])
def test_a_call_with_two_ack_ids_is_not_learned(again: str) -> None:
    """The last one counts in JSON, and it would be part of the learned bytes."""
    asked = send(f"7,{again}")
    assert learn(asked).call(send(f"8,{again}")) is None
    told = answer(f"7,{again}")
    assert learn(told).answer(answer(f"8,{again}")) is None


def test_a_known_call_ignores_the_case_of_the_hub() -> None:
    assert learn(send(7), hub="CHAT").call(send(8)) is not None


def test_a_call_with_an_unusual_id_is_left_to_the_parsers() -> None:
    """The id is not decoded: one with an escape is nobody's, and the caller parses the frame."""
    found = learn(send(7)).call(send(8, url=URL.format(hub=HUB, client="5%31")))
    assert found is not None
    assert found.connection == "5%31"
    found = learn(send(7)).call(send(8, url=URL.format(hub=HUB, client="a/b")))
    assert found is not None
    assert found.connection == "a/b"


SENDS = st.builds(
    send,
    st.integers(0, 2**64),
    st.binary(max_size=300),
    url=st.sampled_from(
        [
            "",
            URL.format(hub=HUB, client="y"),
            URL.format(hub="x", client="y"),
            URL.format(hub=HUB, client="y" * 99),
        ]
    ),
    kind=st.sampled_from(["text/plain", "text/plain", "application/json"]),
)
ANSWERS = st.builds(
    answer,
    st.integers(0, 2**64),
    status=st.sampled_from([200, 200, 404]),
    content=st.sampled_from([b"", None, b"x"]),
    more=st.sampled_from(["false", "true"]),
)


@st.composite
def mutated(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """A frame with some bytes changed, removed or inserted."""
    data = bytearray(draw(frames))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    if draw(st.booleans()):
        data[:4] = (len(data) - 4).to_bytes(4, "little", signed=len(data) < 4)
    return bytes(data)


@settings(max_examples=times(5))
@given(mutated(SENDS))
def test_a_known_send_equals_the_result_of_the_parsers(data: bytes) -> None:
    found = known(learn(send(7)), data)
    # Ids that the service gives. Any other is nobody's, and the caller goes by the parsers then.
    if found is not None and re.fullmatch(r"[A-Za-z0-9_-]+", found[1]):
        assert found == parsed(data)


@settings(max_examples=times(5))
@given(mutated(ANSWERS))
def test_a_known_answer_equals_the_result_of_the_parser(data: bytes) -> None:
    told = learn(answer(123), answer(1234567), answer(12, content=None), answer(1, content=b"abc")).answer(
        data
    )
    if told is not None:
        found, content = tunnel_frames.decode(data)
        assert found == Response(told[0], 200)
        assert content == told[1]


@pytest.mark.parametrize("content", [b"", None, b"abc", b"x" * 255])
def test_an_answer_like_another_is_known(content: bytes | None) -> None:
    frames = learn(answer(123, content=content))
    assert frames.answer(answer(987, content=content)) == (987, content or b"")
    # More digits give other lengths, which are learned separately.
    assert frames.answer(answer(9876, content=content)) is None


def test_only_the_content_may_differ() -> None:
    frames = learn(answer(123, content=b"abc"))
    assert frames.answer(answer(987, content=b"xyz")) == (987, b"xyz")
    assert frames.answer(answer(987, content=b"wxyz")) is None
    assert frames.answer(answer(987, content=b"xyz") + b"z") is None
    assert frames.answer(answer(987, content=b"xyz")[:-1]) is None


@pytest.mark.parametrize(
    "data",
    [
        answer("099"),
        answer(" 99"),
        answer("9_9"),
        answer(999, status=404),
        answer(999, more="true"),
        answer(999, content=b"x"),
        answer(999, content=None),
        # The same number of bytes, with one more digit.
        answer(999).replace(b":999,", b":9999"),
        send(999),
        b"\0" * LEAST,
    ],
)
def test_other_answers_are_not_known(data: bytes) -> None:
    assert learn(answer(123)).answer(data) is None


def test_a_longer_number_with_the_same_lengths_is_not_known() -> None:
    """A frame with one byte too many would be refused, so it must not be recognised."""
    data = answer(999)
    assert learn(answer(123)).answer(data[:17] + b"9" + data[17:]) is None


def test_the_number_of_learned_frames_is_bounded() -> None:
    frames = KnownFrames(HUB, LIMIT)
    for digits in range(2 * MAX_ANSWERS):
        frames.learn_answer(answer(123, headers=f'"x":["{digits:03}"]'), Response(123, 200), b"")
    assert frames.answer(answer(123, headers=f'"x":["{MAX_ANSWERS - 1:03}"]')) == (123, b"")
    assert frames.answer(answer(123, headers=f'"x":["{MAX_ANSWERS:03}"]')) is None
    long = answer(123, headers='"x":["' + "y" * 120 + '"]')
    known_frames = learn(long)
    assert (known_frames.answer(long) is None) == (len(long) > MAX_ANSWER)


@pytest.mark.parametrize(
    "data", [answer(123, status=404), answer(123, content=b"x" * 256), answer(123, more="true")]
)
def test_other_answers_are_not_learned(data: bytes) -> None:
    assert learn(data).answer(data) is None


GROUPS_URL = "https://host/api/hubs/chat/:{verb}?api-version=2023-07-01"


def move(ack_id: object, body: bytes, verb: str = "addToGroups") -> bytes:
    """A client joins or leaves rooms."""
    return send(ack_id, body, url=GROUPS_URL.format(verb=verb), kind="application/json")


def body(*groups: str, client: str = CLIENT) -> bytes:
    """The rooms and the client."""
    listed = ",".join(f'"{group}"' for group in groups)
    return f'{{"groups":[{listed}],"filter":"connectionId eq \'{client}\'"}}'.encode()


VERBS = [("addToGroups", JoinGroups), ("removeFromGroups", LeaveGroups)]


@pytest.mark.parametrize("groups", [("0~Lw~a-_",), ("0~Lw~a", "0~Lw~b"), tuple(f"x~{n}" for n in range(50))])
@pytest.mark.parametrize(("verb", "command"), VERBS)
def test_a_join_like_another_is_known(verb: str, command: type, groups: tuple[str, ...]) -> None:
    frames = learn(move(7, body("0~Lw~x"), verb))
    data = move(1234, body(*groups, client="other_one"), verb)
    wanted = command(HUB, Selection(connection="other_one"), groups)
    assert known(frames, data) == (1234, "other_one", wanted, 200, None) == parsed(data)
    # Each is learned separately.
    assert frames.call(move(8, body("a"), "addToGroups" if verb[0] == "r" else "removeFromGroups")) is None


@pytest.mark.parametrize(
    "content",
    [
        body(),
        body("a", client="x' or 'a' eq 'a"),
        body("a\\u0062"),
        body("a b"),
        body(""),
        body("a").replace(b"connectionId", b"userId"),
        body("a").replace(b"}", b',"x":1}'),
        body("a").replace(b'"filter"', b'"groups":["b"],"filter"'),
        body("a")[:-1],
        body("a") + b" ",
        body(*(f"0~Lw~{n}" for n in range(100))),
        b"",
    ],
)
def test_other_bodies_are_not_known(content: bytes) -> None:
    assert len(body(*(f"0~Lw~{n}" for n in range(100)))) > MAX_BODY
    assert learn(move(7, body("0~Lw~x"))).call(move(8, content)) is None


def test_too_large_a_frame_is_left_to_the_parsers() -> None:
    assert KnownFrames(HUB, 300).call(send(8, b"4" * 200)) is None
    frames = learn(send(7))
    assert frames.call(send(8, b"4" * 200)) is not None
    small = KnownFrames(HUB, 300)
    data = send(7)
    found, content = tunnel_frames.decode(data)
    assert isinstance(found, Request)
    small.learn_call(data, found, content)
    assert small.call(send(8)) is not None
    assert small.call(send(8, b"4" * 200)) is None


MOVES = st.builds(
    move,
    st.integers(0, 2**64),
    st.builds(body, st.sampled_from(["a", "0~Lw~b", "c d", ""]), client=st.sampled_from(["y", "y'y"])),
    verb=st.sampled_from(["addToGroups", "removeFromGroups", "send"]),
)


@settings(max_examples=times(5))
@given(mutated(MOVES))
def test_a_known_join_equals_the_result_of_the_parsers(data: bytes) -> None:
    found = known(learn(move(7, body("x")), move(7, body("x"), "removeFromGroups")), data)
    if found is not None:
        assert found == parsed(data)
