"""Messages between nodes: every value survives its byte form, and no bytes raise anything but `PeerError`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.cluster.forwarding import Forwarding
from moorage.wire.cluster.messages import (
    Alive,
    Beat,
    Body,
    Envelope,
    Fence,
    Groups,
    Packets,
    Part,
    Result,
    Sockets,
    decode,
    encode,
)
from moorage.wire.commands import Command, Exists, Member, Outcome, Selection, Send
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter, compile_filter
from moorage.wire.reasons import NODE_BAD_MESSAGE
from moorage.wire.recovery.handing import Handing
from moorage.wire.recovery.late import Lateness
from moorage.wire.recovery.losses import Loss
from moorage.wire.recovery.moving import Moving
from moorage.wire.trace.messages import Tracing

TEXTS = [
    "userId eq 'ada'",
    "'a' in groups or 'b' in groups and not ('c' in groups)",
    "'a' in groups and (userId eq 'x' or 'b' in groups) and not ('d' in groups)",
    "length(userId) gt 3 and connectionId eq 'c1'",
    "startswith(userId, 'O''N') or userId eq null",
]
text = st.text(max_size=8)
names = st.lists(text, max_size=3).map(tuple)
filters = st.builds(Filter, st.none() | names, names, st.none() | text, st.just("") | st.sampled_from(TEXTS))
selections = st.builds(
    Selection,
    connection=st.none() | text,
    group=st.none() | text,
    user=st.none() | text,
    filter=st.none() | filters,
    excluded=names,
    server=st.none() | text,
)
counts = st.integers(0, 2**53 - 1)
numbers = st.floats(0, 1)
"""A sample is a part of 1; everything else may be larger."""


def of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type. Hypothesis alone would not know the bounds of integers
    and texts."""
    known = {int: counts, float: numbers, str: text, Selection: selections}.get(hint)
    if known is not None:
        return known
    if get_origin(hint) is tuple and get_args(hint)[-1] is not ...:
        return st.tuples(*map(of, get_args(hint)))
    if get_origin(hint) is dict:
        return st.dictionaries(*map(of, get_args(hint)), max_size=3)
    if get_origin(hint) is tuple or get_origin(hint) is list:
        found = st.lists(of(get_args(hint)[0]), max_size=3)
        return found if get_origin(hint) is list else found.map(tuple)
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_args(hint):
        return st.one_of([of(each) for each in get_args(hint)])
    return built(hint) if issubclass(hint, msgspec.Struct) else st.from_type(hint)


def built(kind: type) -> st.SearchStrategy[Any]:
    """Values of a struct."""
    hints = get_type_hints(kind)
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: of(hints[field.name]) for field in fields})


envelopes = built(Envelope)


@given(envelopes)
def test_every_value_survives(envelope: Envelope) -> None:
    assert decode(encode(envelope)) == envelope


@pytest.mark.parametrize("kind", get_args(Body), ids=lambda kind: kind.__name__)
def test_every_command_and_every_part_has_a_byte_form(kind: Any) -> None:
    @given(built(kind))
    def survives(body: Any) -> None:
        found = decode(encode(Envelope("n1", body, 7))).body
        assert type(found) is kind
        assert found == body

    survives()


def test_no_tag_is_used_twice_and_commands_end_at_99() -> None:
    tags = {kind: kind.__struct_config__.tag for kind in get_args(Body)}
    assert len(set(tags.values())) == len(tags)
    assert all((tags[kind] < 100) == (kind in get_args(Command)) for kind in tags)
    kinds = get_args(Part) + get_args(Command) + get_args(Beat) + get_args(Fence) + get_args(Groups)
    assert {
        *kinds,
        *get_args(Forwarding),
        *get_args(Moving),
        *get_args(Loss),
        *get_args(Lateness),
        *get_args(Handing),
        *get_args(Tracing),
        Packets,
    } == set(tags)


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("words", TEXTS)
def test_a_decoded_filter_selects_the_same(words: str, repair: bool) -> None:
    sent = Selection(filter=compile_filter(words, repair=repair), user="u")
    assert decode(encode(Envelope("n1", Exists("app", sent)))).body == Exists("app", sent)


def test_a_condition_that_does_not_compile_is_refused() -> None:
    data = encode(Envelope("n1", Exists("app", Selection(filter=Filter(text="userId eq")))))
    with pytest.raises(PeerError, match="api-bad-filter"):
        decode(data)


GOOD = encode(Envelope("n1", Send("app", Selection(filter=compile_filter(TEXTS[2])), b"42[1]"), 7, "i", 1, 2))


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_a_truncated_message_is_refused(size: int) -> None:
    with pytest.raises(PeerError):
        decode(GOOD[:size])


def test_bytes_after_the_message_are_refused() -> None:
    with pytest.raises(PeerError):
        decode(GOOD + b"\x00")


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except PeerError as error:
        assert error.reason is NODE_BAD_MESSAGE


_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode


@pytest.mark.parametrize(
    "value",
    [
        None, [], ["n1"], [1, [10, "app", []]], ["n1", [999, "app"]], ["n1", [10, "app", []], -1],
        ["n1", [10, "app", [None, None, None, [None, [], None, 5]]]],
        ["n1", [104, "s", [["s", "c", None, -1, [], b""]]]], ["n1", [102, "s", "text"]],
        ["n1", b"\x91" * 100],
    ],
    ids=repr,
)  # fmt: skip
def test_a_message_of_another_form_is_refused(value: object) -> None:
    with pytest.raises(PeerError) as caught:
        decode(_pack(value))
    assert caught.value.reason is NODE_BAD_MESSAGE


def test_a_heartbeat_of_another_version_is_read() -> None:
    beat = [
        105,
        "node",
        False,
        [2, 3],
        "r",
        "http://a:1",
        7,
        "ready",
        "9.0",
        5.0,
        1.0,
        ["n2"],
        True,
        "new",
        {"a": 1},
    ]
    later = decode(_pack(["n1", beat, 0])).body
    assert later == Alive(
        "node", False, (2, 3), "r", "http://a:1", 7, "ready", "9.0", 5.0, 1.0, ("n2",), True
    )
    assert decode(_pack(["n1", [105, "node"]])).body == Alive("node", version=(1, 5))


def test_deeply_nested_arrays_are_refused() -> None:
    with pytest.raises(PeerError):
        decode(b"\x93\xa1n" + b"\x91" * 100_000)
    with pytest.raises(PeerError):
        decode(_pack(["n1", [103, []], 0, "", 0, 0, []])[:-1] + b"\x91" * 100_000)


def test_fields_of_a_newer_node_are_ignored() -> None:
    raw: Any = msgspec.msgpack.decode(encode(Envelope("n1", Sockets("s1", ()), 7)))
    raw[1].append("new")
    raw.append({"new": 1})
    assert decode(_pack(raw)) == Envelope("n1", Sockets("s1", ()), 7)


def test_a_result_carries_the_whole_outcome() -> None:
    outcome = Outcome(found=False, reached=3, members=(Member("c1", "ada"),), more=True, rooms=2, asked=1)
    assert Result.of(outcome).outcome() == outcome
